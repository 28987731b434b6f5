--
-- 一、models
--
CREATE EXTENSION pg_orm_tutorial CASCADE;        -- models.py and init_db(): six classes, six tables
SELECT class, relation, primary_key, extension FROM orm.models ORDER BY class;
SELECT class, name, target, direction, reverse FROM orm.relationships ORDER BY class, name;

--
-- 二、增删改查
--
-- 增
BEGIN;                                           -- con = Connection()
SELECT id, name FROM orm.add(NULL::users, '{"name": "lqz"}');                 -- con.add(Users(name="lqz"))
SELECT id, name FROM orm.add(jsonb_populate_record(NULL::users, '{"name": "row"}'));
SELECT id, name FROM orm.add_all(NULL::users, '[{"name": "lqzee"}, {"name": "egon"}]');
SELECT * FROM orm.session_objects ORDER BY identity;                          -- pending: nothing is written yet
COMMIT;                                          -- con.commit()
SELECT id, name, age, email, ctime <= localtimestamp AS ctime_filled, extra FROM users ORDER BY id;

-- 改
SELECT orm.update_where(NULL::users, 'id > 3', '{"name": "lqz"}');
SELECT orm.update_where(NULL::users, 'id > 3', set => $$name = name || '099'$$, synchronize_session => false);
UPDATE users SET age = 17;
SELECT orm.update_where(NULL::users, 'id > 0', set => 'age = age + 1', synchronize_session => 'evaluate');
SELECT id, name, age FROM users ORDER BY id;

-- 查
SELECT id, name, age FROM orm.query(NULL::users, order_by => 'name DESC, age ASC');
SELECT name AS newname FROM orm.query(NULL::users) ORDER BY id;               -- Users.name.label('newname')
SELECT id, name FROM orm.query(NULL::users, 'id IN (1,3,4)') ORDER BY id;     -- Users.id.in_([1,3,4])
SELECT id, name FROM orm.query(NULL::users, 'id BETWEEN 1 AND 3') ORDER BY id;
SELECT id, name FROM orm.query(NULL::users, 'NOT (id IN (1,3,4))') ORDER BY id;
SELECT id, name FROM orm.query(NULL::users, 'id > :low', params => '{"low": 1}') ORDER BY id;

-- 删
SELECT orm.delete_where(NULL::users, 'id > 2');
SELECT orm.delete_where(NULL::users, 'id = 5');
SELECT id, name FROM users ORDER BY id;

-- 一对多
SELECT * FROM orm.add_all(NULL::hobby, '[{"id": 1}, {"id": 2, "caption": "人妖"}]');
SELECT * FROM orm.add_all(NULL::person, '[{"name": "lqz", "hobby_id": 1}, {"name": "egon", "hobby_id": 2}]');
SELECT p.name, h.caption FROM orm.first(NULL::person, filter_by => '{"name": "lqz"}') p, hobby(p) h;   -- p.hobby.caption
SELECT p.name, (p.hobby).caption FROM orm.first(NULL::person, filter_by => '{"name": "lqz"}') p;       -- the same
SELECT p.name FROM orm.first(NULL::hobby, filter_by => '{"caption": "人妖"}') h, pers(h) p;            -- for p in h.pers
SELECT h, p FROM hobby h JOIN person p ON h.id = p.hobby_id ORDER BY h.id, p.nid;                      -- con.query(Hobby, Person)

-- 多对多
SELECT * FROM orm.add(NULL::boy, '{"hostname": "b1", "girls": [{"name": "g1"}, {"name": "g2"}]}');   -- a graph: boy, girls and links
SELECT b.hostname, g.name FROM boy b, girls(b) g ORDER BY g.id;               -- for g in b.girls
SELECT g.name, b.hostname FROM girl g, boys(g) b ORDER BY g.id;               -- for b in g.boys
CREATE FUNCTION repr(girl) RETURNS text LANGUAGE sql AS 'SELECT $1.name';     -- __repr__: methods are functions
SELECT repr(g), g.repr FROM girl g ORDER BY id;

-- 线程安全: scoped_session
SELECT orm.create_engine('test1', pool_size => 5, max_overflow => 0, pool_timeout => 30, pool_recycle => -1);
SELECT orm.sessionmaker('web', engine => 'test1');                            -- Session = sessionmaker(bind=engine)
CALL orm.begin('web/request-42');                                             -- session = scoped_session(Session)
SELECT engine, size, in_use, waiting FROM orm.engine_status();
SELECT id, name FROM orm.add(NULL::users, '{"name": "scoped"}');              -- session.add(obj1)
CALL orm.commit();                                                            -- session.commit()
CALL orm.close('web/request-42');                                             -- session.close()
SELECT engine, size, in_use, waiting FROM orm.engine_status();
SELECT id, name FROM users ORDER BY id;

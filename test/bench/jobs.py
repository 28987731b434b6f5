"""The jobs that are statements, each with the hand-written SQL beside it.

In the statements {n} is the number of objects, {m} that of the objects that
the session holds before, {low} a number that changes with each repetition;
more names come from a job's setup.
"""

import dataclasses

from measure import Backend, MemoryWatch


def fill(backend, n):
    """The tutorial's tables with n users, and n persons to n / 10 hobbies."""
    hobbies = max(n // 10, 1)
    backend.run((
        'TRUNCATE users, hobby, person RESTART IDENTITY',
        f"""INSERT INTO users (name, age, email)
            SELECT 'user ' || i, i % 90, i || '@example.org'
            FROM generate_series(1, {n}) i""",
        f"""INSERT INTO hobby (caption)
            SELECT 'hobby ' || i FROM generate_series(1, {hobbies}) i""",
        f"""INSERT INTO person (name, hobby_id)
            SELECT 'person ' || i, 1 + i * bigint '7919' % {hobbies}
            FROM generate_series(1, {n}) i""",
        'VACUUM ANALYZE users, hobby, person', 'CHECKPOINT'))


def nothing(backend, n):
    return {}


def write_documents(backend, n):
    """n users as one jsonb, and the same as a file that COPY reads."""
    path = backend.run(('SHOW data_directory',)) + '/users.copy'
    backend.run((
        'DROP TABLE IF EXISTS documents',
        # not compressed, as the file is not
        'CREATE TABLE documents (list jsonb)',
        'ALTER TABLE documents ALTER list SET STORAGE external',
        f"""INSERT INTO documents
            SELECT jsonb_agg(jsonb_build_object(
                'name', 'user ' || i, 'age', i % 90,
                'email', i || '@example.org'))
            FROM generate_series(1, {n}) i""",
        f"""COPY (SELECT u.name, u.age, u.email FROM documents,
                jsonb_populate_recordset(NULL::users, list) u)
            TO '{path}'""",
        'VACUUM ANALYZE documents', 'CHECKPOINT'))
    return {'path': path}


def changed_ages(backend, n):
    """The arrays that the UPDATE written by hand is given."""
    def array(values):
        return '{' + ','.join(map(str, values)) + '}'
    return {'ids': array(range(1, n + 1)),
            'ages': array(-(i % 77) - 1 for i in range(1, n + 1))}


@dataclasses.dataclass(frozen=True)
class SqlJob:
    name: str
    label: str                  # what it does
    against: str                # what it is compared with
    target: float               # the ratio to reach, or None
    count: int                  # objects at size 1
    ours: tuple                 # statements that are timed
    reference: tuple
    before: tuple = ()          # not timed: of both, and of ours alone
    before_ours: tuple = ()
    after: tuple = ()
    setup: object = nothing     # before all runs; gives names for statements
    database: str = 'bench'
    repeat: int = 1             # how often the statements are run
    same_result: bool = True
    growth: bool = False        # measured at growing numbers of objects, too
    needs: str = None           # a function without which it is left out

    def statements(self, templates, n, names):
        return [t.format(n=n, m=min(n, 10000), low=1 + i * 7919 % n, **names)
                for i in range(self.repeat) for t in templates]

    def runner(self, backend, n, names, is_ours):
        """A function that runs the job once and returns a Sample."""
        before = self.before + (self.before_ours if is_ours else ())
        before = [t.format(n=n, m=min(n, 10000)) for t in before]
        timed = self.statements(self.ours if is_ours else self.reference,
                                n, names)

        def run():
            backend.run(before)
            sample = backend.timed(timed)
            backend.run(self.after)
            return sample
        return run

    def open(self, n):
        """The contenders' backends, ours first, and a runner for each."""
        backends = (Backend(self.database), Backend(self.database))
        names = self.setup(backends[0], n)
        return backends, [self.runner(b, n, names, b is backends[0])
                          for b in backends]

    def memory(self, n):
        """The megabytes that one run of ours takes in a new backend."""
        backends, (run, _) = self.open(n)
        with MemoryWatch(backends[0]) as watch:
            run()
        for backend in backends:
            backend.close()
        return watch.megabytes


def to_one(name, label, target, count, ours, joined, **more):
    where = ' WHERE p.nid <= {n}'
    return SqlJob(
        name, label, 'LEFT JOIN', target, count,
        (f'SELECT sum({ours}) FROM person p' + where,),
        (f'SELECT sum({joined}) FROM person p '
         'LEFT JOIN hobby h ON h.id = p.hobby_id' + where,), **more)


def to_one_part(count, name):
    return to_one(f'to_one_{name}', 'the same with {n} persons', 1.2, count,
                  'length((p.hobby).caption)', 'length(h.caption)')


def to_one_few(protocol):
    """Ten persons each of a thousand statements."""
    where = ' WHERE p.nid BETWEEN {0} AND {0} + 9'
    ours = 'SELECT p.name, (p.hobby).caption FROM person p' + where
    joined = ('SELECT p.name, h.caption FROM person p '
              'LEFT JOIN hobby h ON h.id = p.hobby_id' + where)
    before = ()
    if protocol == 'prepared':
        before = ('DEALLOCATE ALL',
                  'PREPARE ours (int) AS ' + ours.format('$1'),
                  'PREPARE joined (int) AS ' + joined.format('$1'))
        ours, joined = 'EXECUTE ours({0})', 'EXECUTE joined({0})'
    return SqlJob(
        f'to_one_10_{protocol}',
        f'the same with 10 persons, 1000 times, {protocol}', 'LEFT JOIN', 0.9,
        1000000, (ours.format('{low}'),), (joined.format('{low}'),),
        before=before, repeat=1000)


def update_where(mode):
    return SqlJob(
        f'update_{mode}',
        '`orm.update_where` of {n} rows with 10,000 objects in the session, '
        f"'{mode}'",
        'the plain UPDATE', 1.03, 1000000,
        ("SELECT orm.update_where(NULL::users, 'id <= {n}', "
         f"set => 'age = age + 1', synchronize_session => '{mode}')",),
        ('UPDATE users SET age = age + 1 WHERE id <= {n}',),
        before=('BEGIN',),
        before_ours=("SELECT count(*) FROM orm.query(NULL::users, "
                     "'id <= {m}')",),
        after=('ROLLBACK', 'VACUUM users'), growth=mode == 'auto')


SQL_JOBS = (
    to_one('to_one', '`(p.hobby).caption` over {n} persons', 0.85, 1000000,
           'length((p.hobby).caption)', 'length(h.caption)', growth=True),
    to_one('to_one_two', 'the same, two fields of the hobby', 0.9, 1000000,
           'length((p.hobby).caption) + (p.hobby).id',
           'length(h.caption) + h.id', growth=True),
    to_one_part(5000, '5k'),
    to_one_part(20000, '20k'),
    to_one_part(50000, '50k'),
    to_one_few('simple'),
    to_one_few('prepared'),
    SqlJob(
        'collection', '`FROM hobby h, pers(h)`, {n} persons', 'JOIN', 1.0,
        1000000,
        ('SELECT sum(h.id + length(p.name)) FROM hobby h, pers(h) p',),
        ('SELECT sum(h.id + length(p.name)) '
         'FROM hobby h JOIN person p ON p.hobby_id = h.id',), growth=True),
    SqlJob(
        'add_all', '`orm.add_all` of {n} documents + commit',
        'COPY of the same rows', 1.15, 100000,
        ('BEGIN',
         'SELECT count(*) FROM documents, '
         'orm.add_all(NULL::users, documents.list)',
         'COMMIT'),
        ('BEGIN', "COPY users (name, age, email) FROM '{path}'", 'COMMIT'),
        before=('TRUNCATE users RESTART IDENTITY',), setup=write_documents,
        database='bench_add', growth=True, same_result=False),
    SqlJob(
        'change', '{n} changed objects flushed', 'one UPDATE ... FROM unnest',
        1.1, 100000,
        ('SELECT orm.flush()',),
        ("UPDATE users SET age = changed.age FROM "
         "unnest('{ids}'::int[], '{ages}'::int[]) changed (id, age) "
         'WHERE users.id = changed.id',),
        before=('BEGIN',),
        before_ours=("SELECT count(orm.set(u, jsonb_build_object("
                     "'age', -(u.id % 77) - 1))) FROM users u WHERE u.id <= {n}",),
        after=('ROLLBACK', 'VACUUM users'), setup=changed_ages, growth=True),
    update_where('evaluate'),
    update_where('fetch'),
    update_where('auto'),
    SqlJob(
        'query', '`orm.query` of {n} rows to the client', 'the plain SELECT',
        1.2, 1000000,
        ("SELECT * FROM orm.query(NULL::users, 'id <= {n}')",),
        ('SELECT * FROM users WHERE id <= {n}',), same_result=False,
        growth=True),
    SqlJob(
        'query_sum', '`SELECT sum(age) FROM orm.query(...)`, {n} rows',
        'the plain SELECT', 1.1, 1000000,
        ("SELECT sum(age) FROM orm.query(NULL::users, 'id <= {n}')",),
        ('SELECT sum(age) FROM users WHERE id <= {n}',), growth=True),
    SqlJob(
        'get', '`orm.get` of an object in the session, {n} calls',
        'a sub-select by primary key', 0.16, 1000000,
        ('SELECT sum((orm.get(NULL::users, 1 + i % {m})).age) '
         'FROM generate_series(1, {n}) i',),
        ('SELECT sum((SELECT age FROM users WHERE id = 1 + i % {m})) '
         'FROM generate_series(1, {n}) i',),
        before=('BEGIN',),
        before_ours=("SELECT count(*) FROM orm.query(NULL::users, "
                     "'id <= {m}')",),
        after=('COMMIT',), growth=True),
    SqlJob(
        'documents', '{n} documents with ten children each',
        'hand-written `json_agg`', 0.22, 100000,
        ("SELECT sum(length(d::text)) FROM orm.find('Hobby', "
         "'{{ id caption pers {{ nid name }} }}', filter => 'id <= {n}') d",),
        ("""SELECT sum(length(d::text)) FROM (
                SELECT json_build_object(
                    'id', h.id, 'caption', h.caption, 'pers', coalesce(
                        json_agg(json_build_object('nid', p.nid,
                                                   'name', p.name))
                        FILTER (WHERE p.nid IS NOT NULL), '[]')) AS d
                FROM hobby h LEFT JOIN person p ON p.hobby_id = h.id
                WHERE h.id <= {n}
                GROUP BY h.id) d""",), same_result=False, growth=True,
        needs='orm.find'),
)

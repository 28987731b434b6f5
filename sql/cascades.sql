\set ECHO none
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_orm_cascades;
CREATE DATABASE regress_orm_cascades
	TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
ALTER DATABASE regress_orm_cascades SET lc_messages TO 'C';
DROP ROLE IF EXISTS regress_orm_cascades_user;
\c regress_orm_cascades
\set ECHO all
--
-- What a change of one object does to its neighbours, by an ordinary role
--
CREATE EXTENSION pg_orm;
CREATE ROLE regress_orm_cascades_user;
GRANT CREATE ON SCHEMA public TO regress_orm_cascades_user;
SET ROLE regress_orm_cascades_user;
\pset format unaligned
\pset tuples_only on

-- chapters go with their book, and books with their author; a book without an
-- author is an orphan; a shelf only holds books
CREATE TABLE author (id int PRIMARY KEY, name text);
CREATE TABLE shelf (id int PRIMARY KEY, label text);
CREATE TABLE book (id int PRIMARY KEY, title text,
	author_id int REFERENCES author, shelf_id int REFERENCES shelf);
CREATE TABLE chapter (id int PRIMARY KEY, book_id int NOT NULL REFERENCES book, caption text);
-- a drawer that must have a desk, without a cascade
CREATE TABLE desk (id int PRIMARY KEY, label text);
CREATE TABLE drawer (id int PRIMARY KEY, desk_id int NOT NULL REFERENCES desk, label text);
-- left to the database
CREATE TABLE host (id int PRIMARY KEY, label text);
CREATE TABLE log (id int PRIMARY KEY, host_id int REFERENCES host ON DELETE CASCADE, line text);
CREATE TABLE note (id int PRIMARY KEY, host_id int REFERENCES host ON DELETE SET NULL, line text);
-- the target goes with what references it, and songs with their playlist
CREATE TABLE address (id int PRIMARY KEY, street text);
CREATE TABLE customer (id int PRIMARY KEY, name text, address_id int REFERENCES address);
CREATE TABLE playlist (id int PRIMARY KEY, label text);
CREATE TABLE song (id int PRIMARY KEY, label text);
CREATE TABLE playlist_song (playlist_id int REFERENCES playlist, song_id int REFERENCES song,
	PRIMARY KEY (playlist_id, song_id));
-- a tree, deleted from the root
CREATE TABLE node (id int PRIMARY KEY, parent_id int REFERENCES node, label text);
-- each deletes the other
CREATE TABLE egg (id int PRIMARY KEY);
CREATE TABLE hen (id int PRIMARY KEY, egg_id int REFERENCES egg);

SELECT count(orm.map(t::regclass, initcap(t))) FROM unnest('{author,shelf,book,chapter,desk,drawer,
	host,log,note,address,customer,playlist,song,node,egg,hen}'::text[]) t;
SELECT orm.relate('Author', 'books', 'Book', backref => 'author', cascade => 'all, delete-orphan');
SELECT orm.relate('Shelf', 'books', 'Book', backref => 'shelf');
SELECT orm.relate('Book', 'chapters', 'Chapter', backref => 'book', cascade => 'all, delete-orphan');
SELECT orm.relate('Desk', 'drawers', 'Drawer', backref => 'desk');
SELECT orm.relate('Host', 'logs', 'Log', cascade => 'all', passive_deletes => true);
SELECT orm.relate('Host', 'notes', 'Note', passive_deletes => true);
SELECT orm.relate('Customer', 'address', 'Address', cascade => 'all');
SELECT orm.relate('Playlist', 'songs', 'Song', secondary => 'playlist_song', backref => 'playlists', cascade => 'save-update, delete');
SELECT orm.relate('Node', 'children', 'Node', backref => 'parent', cascade => 'all, delete-orphan');
SELECT orm.relate('Egg', 'hens', 'Hen', cascade => 'all');
SELECT orm.relate('Hen', 'egg', 'Egg', cascade => 'all');
-- delete-orphan belongs to the one side of a one-to-many
SELECT orm.relate('Drawer', 'owner', 'Desk', cascade => 'all, delete-orphan');
SELECT orm.relate('Song', 'lists', 'Playlist', secondary => 'playlist_song', cascade => 'delete-orphan');
SELECT orm.relate('Shelf', 'view', 'Book', viewonly => true, cascade => 'delete');

INSERT INTO author SELECT i, 'author ' || i FROM generate_series(1, 3) i;
INSERT INTO shelf SELECT i, 'shelf ' || i FROM generate_series(1, 2) i;
INSERT INTO book VALUES (1, 'one', 1, 1), (2, 'two', 1, 2), (3, 'three', 2, 1), (4, 'four', 3, NULL);
INSERT INTO chapter VALUES (11, 1, 'a'), (12, 1, 'b'), (21, 2, 'a'), (31, 3, 'a');
INSERT INTO desk VALUES (1, 'desk'), (2, 'empty');
INSERT INTO drawer VALUES (1, 1, 'left'), (2, 1, 'right');
INSERT INTO host VALUES (1, 'host 1'), (2, 'host 2');
INSERT INTO log VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, 'z');
INSERT INTO note VALUES (1, 1, 'x'), (2, 1, 'y');
INSERT INTO address VALUES (1, 'street');
INSERT INTO customer VALUES (1, 'c1', 1), (2, 'c2', NULL);
INSERT INTO playlist VALUES (1, 'p1'), (2, 'p2');
INSERT INTO song VALUES (1, 's1'), (2, 's2'), (3, 's3');
INSERT INTO playlist_song VALUES (1, 1), (1, 2), (2, 3);
INSERT INTO node VALUES (1, NULL, 'root'), (2, 1, 'a'), (3, 1, 'b'), (4, 2, 'aa'), (5, 4, 'aaa');

\set objects 'SELECT class, identity, state FROM orm.session_objects ORDER BY class COLLATE "C", identity::text;'
\set statements 'SELECT class, operation, objects FROM orm.pending_statements();'
\set books 'SELECT b.id, b.author_id, b.shelf_id, (SELECT array_agg(c.id ORDER BY c.id) FROM chapters(b) c) FROM book b ORDER BY 1;'
CREATE FUNCTION fails(call text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE detail text; hint text;
	BEGIN
		EXECUTE 'SELECT ' || call;
		RETURN 'no error';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
	END $$;

--
-- delete
--
-- with what the cascade leads to, at the time of the call
BEGIN;
SELECT orm.delete(orm.get(NULL::author, 1));
:objects
:statements
:books
:objects
ROLLBACK;
-- without it the foreign key becomes NULL
BEGIN;
SELECT orm.delete(orm.get(NULL::shelf, 1));
:objects
:statements
:books
ROLLBACK;
-- what must not be NULL is an error of the call, and the session is as before
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT label FROM orm.set(orm.get(NULL::desk, 2), '{"label": "pending"}');
SELECT fails('orm.delete(orm.get(NULL::desk, 1))');
:objects
SELECT fails($$orm.remove(d, 'drawers', w) FROM desk d, drawers(d) w WHERE w.id = 1$$);
SELECT fails($$orm.set(orm.get(NULL::desk, 1), '{"drawers": [1]}')$$);
:objects
SELECT orm.delete(orm.get(NULL::desk, 2));
:statements
-- a member that is given another owner, or goes itself, is no obstacle
SELECT * FROM orm.add(NULL::desk, '{"id": 3}');
SELECT orm.append(ROW(3, NULL)::desk, 'drawers', ROW(1, NULL, NULL)::drawer);
SELECT orm.delete(orm.get(NULL::drawer, 2));
SELECT orm.delete(orm.get(NULL::desk, 1));
:statements
SELECT orm.flush();
SELECT * FROM desk ORDER BY id;
SELECT * FROM drawer ORDER BY id;
ROLLBACK;
-- members added in this session, and one taken from elsewhere
BEGIN;
SELECT * FROM orm.add(NULL::author, '{"id": 9, "books": [{"id": 90, "chapters": [{"id": 900}]}]}');
SELECT orm.append(ROW(9, NULL)::author, 'books', ROW(4, NULL, NULL, NULL)::book);
SELECT orm.delete(orm.get(NULL::author, 9));
:objects
:statements
:books
ROLLBACK;
-- links go, their targets only with the cascade
BEGIN;
SELECT orm.delete(orm.get(NULL::song, 3));
:statements
SELECT * FROM playlist_song ORDER BY 1, 2;
SELECT orm.delete(orm.get(NULL::playlist, 1));
:statements
SELECT id FROM song;
SELECT * FROM playlist_song ORDER BY 1, 2;
ROLLBACK;
-- from the many side
BEGIN;
SELECT orm.delete(orm.get(NULL::customer, 1));
SELECT orm.delete(orm.get(NULL::customer, 2));
:statements
SELECT count(*) FROM address;
ROLLBACK;
-- a tree
BEGIN;
SELECT orm.delete(orm.get(NULL::node, 1));
:statements
SELECT count(*) FROM node;
ROLLBACK;
BEGIN;
SELECT orm.delete(orm.get(NULL::node, 2));
SELECT id FROM node ORDER BY 1;
-- some of it not written yet
SELECT * FROM orm.add(NULL::node, '{"id": 20, "parent": 3, "children": [{"id": 21, "children": [{"id": 22}]}]}');
SELECT orm.delete(orm.get(NULL::node, 3));
:objects
SELECT id FROM node ORDER BY 1;
ROLLBACK;
-- in a circle, stored and not stored
BEGIN;
SELECT * FROM orm.add(NULL::egg, '{"id": 1, "hens": [{"id": 1}, {"id": 2}]}');
SELECT orm.delete(orm.get(NULL::hen, 2));
:objects
SELECT * FROM orm.add(NULL::egg, '{"id": 2, "hens": [{"id": 3}, {"id": 4}]}');
SELECT orm.flush();
SELECT orm.delete(orm.get(NULL::hen, 4));
:statements
SELECT orm.flush();
ROLLBACK;
-- what is pending of an object that is deleted
BEGIN;
SELECT title FROM orm.set(orm.get(NULL::book, 4), '{"title": "changed", "author": 1}');
SELECT orm.delete(orm.get(NULL::author, 3));
:objects
:books
ROLLBACK;

--
-- a member that moves
--
-- before the flush, it is neither deleted nor loses its owner
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.remove(ROW(1, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
:statements
SELECT orm.append(ROW(2, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
:statements
SELECT orm.append(ROW(2, NULL)::shelf, 'books', ROW(1, NULL, NULL, NULL)::book);
SELECT orm.delete(orm.get(NULL::author, 1));
:statements
SELECT orm.flush();
:books
ROLLBACK;
-- nor if the owner before was deleted first
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.delete(orm.get(NULL::author, 1));
SELECT orm.append(ROW(2, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
:statements
SELECT orm.flush();
:books
ROLLBACK;
-- by a document
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::author, 2), '{"books": [1, 3]}');
SELECT orm.delete(orm.get(NULL::author, 1));
:statements
:books
ROLLBACK;
BEGIN;
SELECT author_id FROM orm.set(orm.get(NULL::book, 1), '{"author": 2}');
SELECT orm.delete(orm.get(NULL::author, 1));
:statements
:books
ROLLBACK;

--
-- orphans
--
-- a stored one is deleted by the flush, with what goes with it
BEGIN;
SELECT orm.remove(ROW(1, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
:objects
:statements
:books
ROLLBACK;
-- from a deeper level
BEGIN;
SELECT orm.remove(ROW(1, NULL, NULL)::node, 'children', ROW(2, NULL, NULL)::node);
SELECT id FROM node ORDER BY 1;
ROLLBACK;
-- taken from the shelf, and not from the author, it is none
BEGIN;
SELECT orm.remove(ROW(1, NULL)::shelf, 'books', ROW(1, NULL, NULL, NULL)::book);
:statements
:books
ROLLBACK;
-- taken from its owner from its own side it is one; the bare foreign key says
-- nothing of a relationship
BEGIN;
SELECT author_id FROM orm.set(orm.get(NULL::book, 1), '{"author": null}');
SELECT author_id FROM orm.set(orm.get(NULL::book, 2), '{"author_id": null}');
:statements
:books
ROLLBACK;
-- and one that had an owner in between is none any more
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.remove(ROW(1, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
SELECT author_id FROM orm.set(orm.get(NULL::book, 1), '{"author": 2}');
:statements
SELECT author_id FROM orm.set(orm.get(NULL::book, 1), '{"author_id": null}');
:statements
ROLLBACK;
-- left out of the document of its owner
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::author, 1), '{"books": [{"id": 2, "chapters": [{"id": 22}]}, {"id": 5, "title": "five"}]}');
:objects
:statements
:books
SELECT * FROM chapter ORDER BY id;
ROLLBACK;
BEGIN;
SELECT * FROM orm.merge(NULL::author, '{"id": 1, "books": []}');
:books
ROLLBACK;
-- of a one-to-one: what is replaced goes, and lets go of its owner before
CREATE TABLE cover (id int PRIMARY KEY, book_id int UNIQUE REFERENCES book, art text);
SELECT orm.map('cover', 'Cover');
SELECT orm.relate('Book', 'cover', 'Cover', uselist => false, cascade => 'all, delete-orphan');
BEGIN;
SELECT * FROM orm.set(orm.get(NULL::book, 1), '{"cover": {"id": 2, "art": "old"}}');
SELECT * FROM cover;
SELECT * FROM orm.set(orm.get(NULL::book, 1), '{"cover": {"id": 1, "art": "new"}}');
:statements
SELECT * FROM cover;
SELECT * FROM orm.set(orm.get(NULL::book, 2), '{"cover": 1}');
SELECT * FROM cover;
SELECT * FROM orm.set(orm.get(NULL::book, 2), '{"cover": null}');
SELECT * FROM cover;
ROLLBACK;
DROP TABLE cover;
-- one that is not stored yet leaves the session, with what goes with it
BEGIN;
SELECT * FROM orm.add(NULL::author, '{"id": 9, "books": [{"id": 90, "chapters": [{"id": 900}]}, {"id": 91}]}');
SELECT orm.remove(ROW(9, NULL)::author, 'books', ROW(90, NULL, NULL, NULL)::book);
:objects
:books
ROLLBACK;
-- what never had an owner is none
BEGIN;
SELECT * FROM orm.add(NULL::book, '{"id": 92}');
SELECT orm.remove(ROW(1, NULL)::author, 'books', ROW(92, NULL, NULL, NULL)::book);
:statements
SELECT id, author_id FROM book WHERE id = 92;
-- taken from its owner and given back
SELECT orm.remove(ROW(1, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
SELECT orm.append(ROW(1, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
:statements
ROLLBACK;
-- a savepoint brings back what it was
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.remove(ROW(1, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
SAVEPOINT s;
SELECT orm.append(ROW(2, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
SELECT orm.flush();
:books
ROLLBACK TO s;
:statements
SELECT orm.flush();
:books
ROLLBACK TO s;
SELECT orm.append(ROW(1, NULL)::author, 'books', ROW(1, NULL, NULL, NULL)::book);
:statements
ROLLBACK;

--
-- left to the database: only what the session has is looked at
--
BEGIN;
SELECT * FROM orm.get(NULL::log, 1);
SELECT * FROM orm.get(NULL::note, 1);
SELECT orm.delete(orm.get(NULL::host, 1));
:statements
SELECT orm.flush();
:objects
SELECT * FROM log ORDER BY id;
SELECT * FROM note ORDER BY id;
SELECT * FROM orm.get(NULL::note, 2);
ROLLBACK;
-- loaded children of rows that the database deletes or changes are read again
BEGIN;
SELECT * FROM orm.query(NULL::log, 'true', order_by => 'id');
SELECT * FROM orm.query(NULL::note, 'true', order_by => 'id');
DELETE FROM host WHERE id = 1;
:objects
SELECT orm.get(NULL::log, 1) IS NULL, orm.get(NULL::log, 3);
SELECT * FROM orm.get(NULL::note, 2);
ROLLBACK;

--
-- expunge and expire
--
BEGIN;
SELECT orm.get(NULL::author, 1), orm.get(NULL::shelf, 1);
SELECT count(*) FROM orm.query(NULL::book, 'true');
SELECT count(*) FROM orm.query(NULL::chapter, 'true');
SELECT orm.expunge(orm.get(NULL::author, 1));
:objects
-- not without the cascade
SELECT orm.expunge(orm.get(NULL::shelf, 1));
:objects
ROLLBACK;
BEGIN;
SELECT * FROM orm.add(NULL::author, '{"id": 9, "books": [{"id": 90, "chapters": [{"id": 900}]}]}');
SELECT * FROM orm.add(NULL::playlist, '{"id": 9, "songs": [{"id": 9, "label": "new"}, 3]}');
SELECT orm.expunge(orm.get(NULL::author, 9));
SELECT orm.expunge(orm.get(NULL::playlist, 9));
:objects
SELECT orm.flush();
ROLLBACK;
BEGIN;
SET LOCAL orm.autoflush = off;
SELECT orm.get(NULL::author, 1), orm.get(NULL::shelf, 1);
SELECT count(*) FROM orm.query(NULL::book, 'true');
SELECT count(*) FROM orm.query(NULL::chapter, 'true');
SELECT title FROM orm.set(orm.get(NULL::book, 1), '{"title": "forgotten"}');
SELECT title FROM orm.set(orm.get(NULL::book, 3), '{"title": "kept"}');
SELECT * FROM orm.add(NULL::book, '{"id": 90, "author": 1}');
SELECT orm.expire(orm.get(NULL::author, 1));
:objects
SELECT title FROM orm.get(NULL::book, 1);
SELECT orm.expire(orm.get(NULL::shelf, 1));
:objects
ROLLBACK;
-- refresh too
BEGIN;
SELECT orm.get(NULL::author, 1);
SELECT title FROM orm.set(orm.get(NULL::book, 1), '{"title": "forgotten"}');
SELECT * FROM orm.refresh(orm.get(NULL::author, 1));
:objects
SELECT title FROM book WHERE id = 1;
ROLLBACK;

\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_orm_cascades;
DROP ROLE regress_orm_cascades_user;

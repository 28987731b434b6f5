#!/usr/bin/python3
"""psycopg2, as the README's driver page says to use it."""

import psycopg2
import psycopg2.extras
from psycopg2.extras import Json

from tap import done, same


def error_of(cursor, text, *arguments):
    """The SQLSTATE that a statement fails with."""
    try:
        cursor.execute(text, arguments or None)
    except psycopg2.Error as error:
        return error.pgcode
    return None


def rows(cursor, text, *arguments):
    cursor.execute(text, arguments or None)
    return cursor.fetchall()


connection = psycopg2.connect('')
other = psycopg2.connect('')
other.autocommit = True
cursor = connection.cursor()
watcher = other.cursor()

# values and results
same(rows(cursor, 'SELECT id, name FROM orm.add(NULL::users, %s)',
          Json({'name': 'lqz', 'age': 5})),
     [(1, 'lqz')], 'a call in FROM gives columns')
same(rows(cursor, 'SELECT orm.get(NULL::hobby, %s)', 7),
     [(None,)], 'get of a missing key is None')
same(rows(cursor, 'SELECT orm.add(NULL::hobby, %s)', Json({'id': 1})),
     [('(1,篮球)',)], 'a call in the select list gives the row as text')
same(rows(cursor, 'SELECT name FROM orm.add_all(NULL::users, %s)',
          Json([{'name': 'lqzee'}, {'name': 'egon'}])),
     [('lqzee',), ('egon',)], 'a list goes as Json')
same(error_of(cursor, 'SELECT orm.add(NULL::users, %s)', [1, 2]),
     '42883', 'a plain list is an integer[]')

# transactions are the driver's own
connection.rollback()
same(rows(watcher, 'SELECT count(*) FROM users'), [(0,)],
     'rollback() discards what was pending')
rows(cursor, 'SELECT id FROM orm.add_all(NULL::users, %s)',
     Json([{'name': f'user {i}', 'age': i} for i in range(5)]))
same(rows(watcher, 'SELECT count(*) FROM users'), [(0,)],
     'nobody else sees pending objects')
same(rows(cursor, 'SELECT count(*) FROM users'), [(5,)],
     'plain SQL of the same connection sees them')
connection.commit()
same(rows(watcher, 'SELECT count(*) FROM users'), [(5,)],
     'commit() flushes')

same(rows(cursor, "SELECT orm.update_where(NULL::users, 'age < :limit', "
          "set => 'age = age + 1', params => %s)", Json({'limit': 3})),
     [(3,)], 'params go as Json, the count is an integer')
same(rows(cursor, "SELECT name FROM orm.query(NULL::users, "
          "'name LIKE ''%%4''') WHERE age > %s", 0),
     [('user 4',)], 'a per cent sign is doubled')
same(rows(cursor, 'SELECT name FROM orm.query(NULL::users, filter_by => %s)',
          Json({'age': [4]})),
     [('user 4',)], 'filter_by with a list')
connection.commit()

# errors
same(error_of(cursor, 'SELECT * FROM orm.one(NULL::users, %s)', 'age = 77'),
     'P0002', 'one() without a row')
same(error_of(cursor, 'CALL orm.rollback()'), '25P02',
     'the server refuses CALL after an error')
connection.rollback()
same(error_of(cursor, "SELECT orm.delete_where(NULL::users, filter_by => %s)",
              Json({})),
     '22023', 'no criteria are an error')
connection.rollback()
same(error_of(cursor, "SELECT orm.set(u, %s) FROM users u",
              Json({'nmae': 'x'})),
     '42703', 'an unknown column')
connection.rollback()
same(rows(cursor, 'SELECT count(*) FROM users'), [(5,)],
     'the connection goes on after rollback()')

# a flush that fails comes with the statement that flushed, or with commit()
rows(cursor, 'SELECT id FROM orm.add(NULL::users, %s)',
     Json({'id': rows(cursor, 'SELECT min(id) FROM users')[0][0],
           'name': 'again'}))
try:
    connection.commit()
    same(None, '23505', 'commit() raises what the flush raised')
except psycopg2.Error as error:
    same(error.pgcode, '23505', 'commit() raises what the flush raised')
    same('flush of session "main"' in str(error), True,
         'and says whose flush it was')
connection.rollback()

# the calls in the driver's own block
rows(cursor, 'SELECT id FROM orm.add(NULL::users, %s)',
     Json({'name': 'block'}))
cursor.execute('CALL orm.begin()')
rows(cursor, 'SELECT id FROM orm.add(NULL::users, %s)',
     Json({'name': 'session'}))
cursor.execute('CALL orm.commit()')
same('the transaction is the client\'s' in ' '.join(connection.notices), True,
     'orm.commit() in a block of the driver says what it did')
same(rows(watcher, "SELECT count(*) FROM users WHERE name = 'session'"),
     [(0,)], 'and commits nothing')
connection.commit()
same(rows(watcher, "SELECT count(*) FROM users "
          "WHERE name IN ('block', 'session')"),
     [(2,)], 'the driver does')

# a server-side cursor is a statement like any other
rows(cursor, 'SELECT id FROM orm.add(NULL::users, %s)', Json({'name': 'cur'}))
with connection.cursor('named') as named:
    named.execute("SELECT name FROM users WHERE name = 'cur'")
    same(named.fetchall(), [('cur',)], 'a server-side cursor flushes before')
connection.rollback()

# autocommit: one statement is one unit of work
connection.autocommit = True
rows(cursor, 'SELECT id FROM orm.add(NULL::users, %s)', Json({'name': 'auto'}))
same(rows(watcher, "SELECT count(*) FROM users WHERE name = 'auto'"), [(1,)],
     'in autocommit each statement flushes and commits')
same(error_of(cursor, 'SELECT orm.add(NULL::users, %s)', Json({'age': 1})),
     '23502', 'a flush that fails is an error of its statement')
same(rows(cursor, "SELECT count(*) FROM users WHERE age IS NULL AND name = ''"),
     [(0,)], 'after which the connection goes on')

# two scopes in one connection, with the transaction of the calls
cursor.execute("CALL orm.begin('one')")
rows(cursor, 'SELECT id FROM orm.add(NULL::hobby, %s)', Json({'id': 11}))
cursor.execute("CALL orm.begin('two')")
same(rows(cursor, 'SELECT count(*) FROM orm.session_objects '
          "WHERE session = 'two'"),
     [(0,)], 'sessions of one connection share no objects')
rows(cursor, 'SELECT id FROM orm.add(NULL::hobby, %s)', Json({'id': 12}))
cursor.execute('CALL orm.rollback()')
cursor.execute("CALL orm.close('two')")
cursor.execute('CALL orm.commit()')
cursor.execute("CALL orm.close('one')")
same(rows(watcher, 'SELECT id FROM hobby ORDER BY id'), [(11,)],
     'one is committed, two was rolled back')

done()

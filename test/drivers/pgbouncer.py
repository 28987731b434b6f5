#!/usr/bin/python3
"""Two clients of one server connection, through PgBouncer in transaction
mode."""

import psycopg2
from psycopg2.extras import Json

from tap import done, same


def rows(cursor, text, *arguments):
    cursor.execute(text, arguments or None)
    return cursor.fetchall()


first = psycopg2.connect('')
second = psycopg2.connect('')
a, b = first.cursor(), second.cursor()

same(rows(a, 'SELECT id FROM orm.add(NULL::hobby, %s)', Json({'id': 1})),
     [(1,)], 'the first client adds')
server = rows(a, 'SELECT pg_backend_pid()')
first.commit()
same(rows(b, 'SELECT pg_backend_pid()'), server,
     'the second client has the same server connection')
same(rows(b, 'SELECT count(*) FROM orm.session_objects'), [(0,)],
     'nothing of the first is left in it')
second.rollback()

rows(a, 'SELECT id FROM orm.add(NULL::hobby, %s)', Json({'id': 2}))
first.rollback()
same(rows(b, 'SELECT id FROM hobby ORDER BY id'), [(1,)],
     'what was rolled back does not come back')
second.commit()

first.autocommit = second.autocommit = True
a.execute("CALL orm.begin('web/1')")
rows(a, 'SELECT id FROM orm.add(NULL::hobby, %s)', Json({'id': 3}))
a.execute('CALL orm.commit()')
rows(b, 'SELECT id FROM orm.add(NULL::girl, %s)', Json({'name': 'g'}))
same(rows(b, 'SELECT count(*) FROM orm.session_objects'), [(0,)],
     'the session of orm.begin(name) ends with its transaction')
same(rows(b, 'SELECT id FROM hobby ORDER BY id'), [(1,), (3,)],
     'and its objects are committed')

done()

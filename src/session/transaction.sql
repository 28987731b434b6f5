--
-- Transactions: the procedures of a session
--
-- None has OUT parameters: after what they do to the transaction there is no
-- catalog to be read for a result row.  What may be left out is a procedure of
-- its own, as putting a default in costs more than the rest of the call.
--

CREATE PROCEDURE orm."begin"()
	AS 'MODULE_PATHNAME', 'orm_begin' LANGUAGE C;
COMMENT ON PROCEDURE orm."begin"() IS
'Begins a transaction of the current session, as orm.begin(session) does.
Errors: 25001 the session has begun already; 2D000 not the client''s own single statement.
Example: CALL orm.begin();';

CREATE PROCEDURE orm."begin"(session text)
	AS 'MODULE_PATHNAME', 'orm_begin' LANGUAGE C;
COMMENT ON PROCEDURE orm."begin"(text) IS
'Begins a transaction of the session (the current one if NULL) and makes that session current until its commit, rollback or close.
With no transaction block open it opens one; within a block that somebody else opened it sets a savepoint that is named after the session.
Errors: 25001 the session has begun already; 22023 not a session name (at most 48 bytes, no dot); 2D000 not the client''s own single statement.
Example: CALL orm.begin(''web/request-42'');';

CREATE PROCEDURE orm.begin_nested()
	AS 'MODULE_PATHNAME', 'orm_begin_nested' LANGUAGE C;
COMMENT ON PROCEDURE orm.begin_nested() IS
'Flushes the current session and sets a savepoint of it: "NAME.1", "NAME.2" within that, and so on.
After an error within it: ROLLBACK TO "NAME.1".
Errors: 25P01 no transaction is open; 2D000 not the client''s own single statement; those of the flush.
Example: CALL orm.begin_nested();';

CREATE PROCEDURE orm.commit_nested()
	AS 'MODULE_PATHNAME', 'orm_commit_nested' LANGUAGE C;
COMMENT ON PROCEDURE orm.commit_nested() IS
'Flushes the current session and releases its innermost savepoint: what was done in it belongs to the level below.
Errors: 3B001 there is none, it is gone, or another session is open inside it; 2D000 not the client''s own single statement; those of the flush.
Example: CALL orm.commit_nested();';

CREATE PROCEDURE orm.rollback_nested()
	AS 'MODULE_PATHNAME', 'orm_rollback_nested' LANGUAGE C;
COMMENT ON PROCEDURE orm.rollback_nested() IS
'Rolls back to the innermost savepoint of the current session, rows and objects alike, and ends that level.
Errors: 3B001 there is none, it is gone, or another session is open inside it; 2D000 not the client''s own single statement.
Example: CALL orm.rollback_nested();';

CREATE PROCEDURE orm.commit()
	AS 'MODULE_PATHNAME', 'orm_commit' LANGUAGE C;
COMMENT ON PROCEDURE orm.commit() IS
'Flushes the current session and ends its transaction: COMMIT where orm.begin() opened the block, RELEASE SAVEPOINT "NAME" in a block of somebody else (who commits it), and without orm.begin() the flush alone. With nothing open it does nothing.
Errors: 3B001 the savepoint is gone, or another session is open inside; 2D000 not the client''s own single statement; those of the flush.
Example: CALL orm.commit();';

CREATE PROCEDURE orm.rollback()
	AS 'MODULE_PATHNAME', 'orm_rollback' LANGUAGE C;
COMMENT ON PROCEDURE orm.rollback() IS
'Undoes the transaction of the current session, rows and objects alike: ROLLBACK where orm.begin() opened the block, ROLLBACK TO "NAME" in a block of somebody else; without orm.begin() it discards what is pending. With nothing open it does nothing.
In a failed transaction the server refuses every CALL (25P02): send ROLLBACK or ROLLBACK TO "NAME".
Errors: 3B001 the savepoint is gone, or another session is open inside; 2D000 not the client''s own single statement.
Example: CALL orm.rollback();';

CREATE PROCEDURE orm.close()
	AS 'MODULE_PATHNAME', 'orm_close' LANGUAGE C;
COMMENT ON PROCEDURE orm.close() IS
'Rolls back like orm.rollback() and forgets the current session with all of its objects.
Errors: 3B001 the savepoint is gone, or another session is open inside; 2D000 not the client''s own single statement.
Example: CALL orm.close();';

CREATE PROCEDURE orm.close(session text)
	AS 'MODULE_PATHNAME', 'orm_close' LANGUAGE C;
COMMENT ON PROCEDURE orm.close(text) IS
'Rolls back like orm.rollback() and forgets the session (the current one if NULL) with all of its objects.
Errors: 3B001 the savepoint is gone, or another session is open inside; 22023 not a session name; 2D000 not the client''s own single statement.
Example: CALL orm.close(''web/request-42'');';

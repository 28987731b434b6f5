/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  What the files of the session module share, and nobody else sees.
 *
 * Memory: a Session and its hash live in a context of their own under
 * TopMemoryContext; its objects live in a child of that, which is emptied
 * when the transaction ends (unless orm.expire_on_commit is off).
 *
 * Savepoints: each object has a stack of versions, one for each
 * (sub)transaction that touched it.  A Level is the list of versions that
 * one live (sub)transaction made; it exists from its first touch on.  The
 * callback at the end of a subtransaction pops the versions of its level or
 * moves them down, so it costs what was touched and nothing for what was not.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_SESSION_INTERNAL_H
#define PG_ORM_SESSION_INTERNAL_H

#include "access/xact.h"
#include "lib/ilist.h"
#include "nodes/parsenodes.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "engine/engine.h"
#include "session/session.h"

typedef enum ObjectState
{
	OBJECT_PENDING,				/* added, its INSERT not yet flushed */
	OBJECT_PERSISTENT,			/* has a stored row */
	OBJECT_DELETED,				/* its row was deleted in this transaction */
	OBJECT_GONE					/* no longer in the session */
} ObjectState;

typedef struct Level
{
	SubTransactionId subid;
	struct Level *below;
	dlist_head	versions;		/* ObjectVersion.level_node */
} Level;

/* An identity in the map; an object whose key changes has several. */
typedef struct IdentityKey
{
	uint32		hash;
	Object	   *object;
	struct IdentityKey *next;	/* in the chain of this hash value */
	Datum		values[FLEXIBLE_ARRAY_MEMBER];
} IdentityKey;

/*
 * What an object was at one (sub)transaction level.  Rows and keys are shared
 * with the version below until one of the two changes.
 */
typedef struct ObjectVersion
{
	/* what a look-up reads comes first, to be in one cache line */
	IdentityKey *key;			/* NULL: pending without a key as yet */
	HeapTuple	stored;			/* as stored; NULL if pending or expired */
	HeapTuple	changed;		/* with pending changes; NULL if there are none */
	ObjectState state;
	bool		marked_deleted; /* by orm.delete, not yet flushed */
	bool		rewritten;		/* by a bulk statement, so xmin is older */
	AttrNumber	orphan_attnum;	/* deleted if this is NULL at the flush, or 0 */
	TransactionId xmin;			/* of the stored row; 0 if not known */
	uint16		stored_type;	/* the row types that they are Datums of, if */
	uint16		changed_type;	/* they can be, and were formed with */
	Object	   *object;
	Level	   *level;			/* NULL: from before this transaction */
	dlist_node	level_node;
	struct ObjectVersion *below;
	int64		number;			/* of its version column; -1 if not known */
	Bitmapset  *modified;		/* columns of changed that are pending: one of
								 * ModelObjects.column_sets, not to be changed */
} ObjectVersion;

typedef struct Arena Arena;

/* The objects of one model in one session. */
typedef struct ModelObjectsKey
{
	Oid			relid;
	bool		association;	/* the links of a secondary table */
} ModelObjectsKey;

typedef struct ModelObjects
{
	ModelObjectsKey key;		/* hash key */
	Oid			owner;			/* of the relationship that has the links */
	Oid			target;			/* of that relationship */
	NameData	relationship;	/* its name */
	bool		invalidated;	/* a relcache invalidation came */
	List	   *tupdescs;		/* that rows were formed with, newest last */
	TupleDesc	tupdesc;		/* the newest, */
	uint16		type;			/* and its number; 0 if there are too many */
	int			nkeys;
	AttrNumber *key_attnums;	/* of the identities */
	dlist_head	objects;		/* Object.model_node */
	Object	   *found;			/* by the last look-up, or NULL */
	uint32		count;
	uint32		nclean;			/* of them, in the session's list of those */
	bool		loaded;			/* there may be stored rows, at the top */
	bool		several_scopes; /* objects of several users or settings */
	bool		indirect;		/* no table: any DML may change its rows */
	uint64		expirations;	/* how often its objects were expired */
	bool		left_alone;		/* a bulk statement wrote rows, not objects */
	struct ReferenceIndex *references;	/* by foreign keys; in reference.c */
	List	   *column_sets;	/* what ObjectVersion.modified points to */
} ModelObjects;

struct Object
{
	/* as in ObjectVersion */
	ObjectVersion *top;
	ModelObjects *model_objects;
	Oid			userid;			/* loaded or changed as this user, */
	bool		row_security;	/* under this setting */
	bool		unflushed;		/* is in session->unflushed */
	bool		in_lru;			/* is in session->clean */
	bool		first_key_taken;

	/* most objects have one key, of one Datum, and one version: these */
	Datum		first_key[offsetof(IdentityKey, values) / sizeof(Datum) + 1];
	ObjectVersion first;

	dlist_node	list_node;		/* in one of these two lists, or in none */
	Session    *session;
	dlist_node	model_node;
	uint32		revision;		/* counts its changes */
	uint32		clean_bytes;	/* of its row, in session->clean_bytes */
	struct Reference *references;	/* where it is noted; in reference.c */
};

struct Session
{
	char		name[NAMEDATALEN];	/* hash key */
	MemoryContext context;		/* of the hashes */
	MemoryContext objects_context;
	Arena	   *arena;			/* of objects and rows, or NULL */
	struct identity_hash *identities;
	HTAB	   *models;			/* ModelObjects by relation */
	ModelObjects *last_used;	/* of them, or NULL */
	dlist_head	unflushed;		/* objects with pending changes, in order */
	uint64		nunflushed;
	dlist_head	clean;			/* least recently used first */
	uint64		nclean;
	uint64		clean_bytes;	/* of their rows */
	uint64		nobjects;
	bool		entered;		/* used in this transaction: the next two hold */
	Sessionmaker maker;			/* as it was at the first use */
	EngineSlot	slot;			/* of the maker's engine */
	bool		flushing;
	bool		writing;		/* a flush holds on to objects */
	int			flush_nest_level;	/* of the flush that runs */
	int			hold_nest_level;	/* where it was held, or 0 */
};

/* GUCs, in session.c */
extern char *orm_session_setting;
extern bool orm_autoflush;
extern bool orm_expire_on_commit;
extern int	orm_identity_map_limit;
extern int	orm_identity_map_memory;

/* ------------------------------------------------------------------------
 * in session.c
 * ------------------------------------------------------------------------
 */
/* The session of that name, made if need be; a bad name is 22023. */
extern Session *session_open(const char *name);

/*
 * The session that calls belong to now, for those who do nothing in it that
 * needs a slot of its engine.
 */
extern Session *session_in_scope(void);

/*
 * The session is used in this transaction: it has its maker's settings as
 * they are now, and waits for a slot of its engine.  session_leave gives the
 * slot back before the end of the transaction.
 */
extern void session_enter(Session *session);
extern void session_leave(Session *session);

/* orm.autoflush, or what the session's maker has instead of it. */
extern bool session_autoflushes(Session *session);

/* Makes it the current one until session_end_scope or transaction end. */
extern void session_begin_scope(Session *session);
extern void session_end_scope(Session *session);

/* Forgets all objects and pending changes, and the session itself. */
extern void session_drop(Session *session);

/* DISCARD ALL. */
extern void sessions_drop_all(void);

/* Calls the function for each session of the backend. */
extern void sessions_each(void (*visit) (Session *session, void *arg),
						  void *arg);

/* Number of objects and of unflushed ones, over all sessions. */
extern uint64 sessions_object_count;
extern uint64 sessions_unflushed_count;

/* ------------------------------------------------------------------------
 * in identity_map.c
 * ------------------------------------------------------------------------
 */
extern void identity_map_create(Session *session);

/* So many objects are about to come, at most. */
extern void identity_map_expect(Session *session, uint32 nobjects);

/* That key is about to be looked up: the memory is fetched meanwhile. */
extern void identity_map_prefetch(Session *session, Model *model,
								  const Datum *key);

/* Forgets every object at once; savepoints do not bring them back. */
extern void identity_map_reset(Session *session);

/* Before a reset within a transaction: its levels forget the session. */
extern void identity_map_unlink_versions(Session *session);

/* The commit of the transaction with orm.expire_on_commit off. */
extern void identity_map_keep(Session *session);
extern void identity_map_xact_end(void);
extern void identity_map_subxact(SubXactEvent event, SubTransactionId my_subid,
								 SubTransactionId parent_subid);

/* in model_objects.c: within an invalidation callback, sets flags only. */
extern void identity_map_invalidate(Session *session, Oid relid);

extern ModelObjects *model_objects(Session *session, Model *model);

/* The model of the objects, as it is now. */
extern Model *objects_model(ModelObjects *entry);
extern Object *object_create(Session *session, Model *model,
							 const Datum *key, ObjectState state);

/*
 * Takes the object out of the session; it may be freed.  A rollback to before
 * brings it back.
 */
extern void object_leave(Object *object);

/*
 * After a change of the version: files the object in the unflushed list, the
 * list of clean objects, or neither.
 */
extern void object_refile(Object *object);

/* Files the object under a key, which is copied; the key is the version's. */
extern void version_set_key(Model *model, ObjectVersion *version,
							const Datum *key);

/* The same if it is another one than now, or the same in another spelling. */
extern void version_follow_key(Model *model, ObjectVersion *version,
							   const Datum *key);

/* For version.c: the innermost level, made if need be, and keys to be freed. */
extern Level *level_current(void);
extern void identity_key_free_unshared(IdentityKey *key, IdentityKey *above,
									   IdentityKey *below);

/* Forgets clean objects until the limits of the identity map are kept. */
extern void session_evict(Session *session);

/*
 * Nothing is forgotten meanwhile, so that what was read for many objects at
 * once is there when each of them is looked at.  The end of the
 * (sub)transaction releases as well.
 */
extern void session_hold(Session *session);
extern void session_release(Session *session);

/* What becomes of values that the session has loaded already. */
typedef enum LoadMode
{
	LOAD_MISSING,				/* they stay */
	LOAD_COMPARE,				/* they have to be what is stored now */
	LOAD_REFRESH,				/* they are replaced, pending changes stay */
	LOAD_OVERWRITE				/* pending changes go, too */
} LoadMode;

/* session_take_row, with nextra columns behind what it wants. */
extern Datum session_take_row_of(Session *session, Model *model,
								 TupleTableSlot *slot, int nextra,
								 LoadMode mode);
extern Datum session_take_tuple_of(Session *session, Model *model,
								   TupleTableSlot *slot, LoadMode mode);

/* in object.c: the row that the session shows, or NULL if it is not known. */
extern HeapTuple object_current_row(Object *object);

/*
 * Is there a row that was loaded, and that somebody else may have changed
 * since?
 */
extern bool object_may_be_outdated(Object *object);

/* The same as a Datum in the current memory context, or 0. */
extern Datum object_current_datum(Model *model, Object *object);

/* Copies a row into the memory of the session's objects. */
extern HeapTuple session_copy_row(Session *session, HeapTuple row);
extern void session_free_row(Session *session, HeapTuple row);

/* ------------------------------------------------------------------------
 * in arena.c: memory of objects and rows, until identity_map_reset
 * ------------------------------------------------------------------------
 */
extern void *arena_alloc(Session *session, Size size);
extern void arena_free(Session *session, void *pointer, Size size);
extern void arena_reset(Session *session);

/* ------------------------------------------------------------------------
 * in version.c
 * ------------------------------------------------------------------------
 */
/* The version to write to: of the present subtransaction. */
extern ObjectVersion *object_touch(Object *object);

/* Notes the version of a stored row: its xmin and its version column. */
extern void version_note(Model *model, ObjectVersion *version, HeapTuple row,
						 TransactionId xmin);

/* The version of the stored row is not known (any more). */
extern void version_forget(ObjectVersion *version);
extern bool version_is_known(const ObjectVersion *version);

/* Setters free what the version below does not share. */
extern void version_set_stored(ObjectVersion *version, HeapTuple row);
extern void version_set_changed(ObjectVersion *version, HeapTuple row,
								Bitmapset *modified);

/* What was pending is the stored row. */
extern void version_store_changes(ObjectVersion *version);

/* Is there a change that a flush has to write? */
extern bool version_is_pending_work(const ObjectVersion *version);

/* Takes it out of the stack between above and version->below. */
extern void version_free(ObjectVersion *version, ObjectVersion *above);

/* ------------------------------------------------------------------------
 * in unit_of_work.c
 * ------------------------------------------------------------------------
 */
/* Sees to it that the end of the transaction flushes. */
extern void commit_flush_arm(void);
extern void commit_flush_forget(void);
extern void sessions_flush_all(FlushReason reason);

/* session_add of a draft. */
struct RowDraft;
extern Object *session_add_draft(Session *session, Model *model,
								 const struct RowDraft *draft);

/* The key of the row that names an object, palloc'd; P0002 without one. */
extern Datum *object_key_required(Model *model, HeapTupleHeader row);
/* Reads the row of a key; the object has it then.  P0002 without one. */
extern Object *session_object_load(Session *session, Model *model,
								   const Datum *key, bool populate_existing);
pg_noreturn extern void report_missing(Model *model, const Datum *key);

/* 55000 if the object is deleted or marked so. */
extern void require_not_deleted(Model *model, Object *object);

/* 55000 while the session flushes. */
extern void require_not_flushing(Session *session);

/* Gives the version a copy of the row as its pending changes. */
extern void version_take_changes(ObjectVersion *version, HeapTuple row,
								 Bitmapset *modified);

/* After a change by a call: files the object, and sees to the commit. */
extern void object_changed(Object *object);

/* Discards pending changes; what was added is gone. */
extern void object_discard_changes(Object *object);
extern void session_discard_pending(Session *session);

/* Forgets values, pending ones too, but not that the object is deleted. */
extern void object_expire(Object *object);

/* ------------------------------------------------------------------------
 * in flush_batch.c
 * ------------------------------------------------------------------------
 */

/*
 * Do triggers before the INSERT have a say in which rows come back, and with
 * which key?  Then they are written one by one.  What is behind a view or a
 * foreign table is not known.
 */
extern bool insert_one_by_one(Model *model);

/* ------------------------------------------------------------------------
 * in load.c
 * ------------------------------------------------------------------------
 */
/*
 * Reads the row with that key and takes it into the session (without
 * autoflush); returns false if there is none.
 */
extern bool session_load_by_key(Session *session, Model *model,
								const Datum *key, bool populate_existing);

/*
 * The same for several keys by one statement; found[i] becomes true if there
 * is a row of keys[i].  *at is the number of the key that it has come to, for
 * error callbacks.
 */
extern void session_load_by_keys(Session *session, Model *model, int n,
								 Datum **keys, LoadMode mode, bool *found,
								 int *at);

/*
 * "ROWS FROM (pg_catalog.unnest($1)) WITH ORDINALITY AS r (n1, n2, ..., o)":
 * rows of the model that were sent, their columns by number.
 */
extern char *numbered_rows_sql(Model *model);

/*
 * Is there a row with that key that the present user can see?  Its version
 * comes back as in ObjectVersion.
 */
extern bool row_exists(Model *model, const Datum *key, TransactionId *xmin,
					   int64 *number);

/* 40001: what a change is based on is not what is stored. */
pg_noreturn extern void report_stale(Model *model, char *key,
									 const char *what);

/* ------------------------------------------------------------------------
 * in reference.c: objects by the values of their foreign keys
 * ------------------------------------------------------------------------
 */
typedef struct Reference Reference;
typedef struct ReferenceIndex ReferenceIndex;

/*
 * The objects of the model that may refer to an owner, by the values that its
 * row has in the owner's columns: List of Object *.  It has all that do, or
 * once did.
 */
extern List *references_candidates(Session *session, Model *model, int n,
								   const AttrNumber *attnums,
								   Model *owner_model, Datum owner,
								   const AttrNumber *owner_attnums);

/* The object was given a row. */
extern void references_note(Object *object, HeapTuple row);

/* The object is about to be freed. */
extern void references_forget(Object *object);

/* The table has been altered: indexes are made anew when wanted. */
extern void references_drop(ModelObjects *entry);

/* ------------------------------------------------------------------------
 * in statement.c: kept plans of generated statements
 * ------------------------------------------------------------------------
 */
typedef enum StatementKind
{
	STATEMENT_LOAD,				/* one object by its key */
	STATEMENT_LOAD_ALL,			/* several objects by their keys */
	STATEMENT_MEMBERS,			/* what a relationship leads to */
	STATEMENT_MEMBERS_ALL,		/* the same for several owners */
	STATEMENT_INSERT,
	STATEMENT_INSERT_AS_SENT,	/* without RETURNING */
	STATEMENT_UPDATE,
	STATEMENT_UPDATE_KEY,
	STATEMENT_LOCK,				/* rows that several statements will write */
	STATEMENT_RELEASE,			/* NULL in foreign keys, before a DELETE */
	STATEMENT_LINK,				/* association rows */
	STATEMENT_UNLINK,
	STATEMENT_UNLINK_ALL,		/* those of objects that are deleted */
	STATEMENT_DELETE
} StatementKind;

/* What a generated statement is about; its text depends on nothing else. */
typedef struct StatementSubject
{
	StatementKind kind;
	Model	   *model;
	Bitmapset  *columns;		/* that it names, where that varies */
	Relationship *relationship; /* of model, or NULL */
	bool		one;			/* it writes one row, and its parameters are
								 * not arrays */
} StatementSubject;

typedef char *(*StatementText) (const StatementSubject *subject);

/*
 * The kept plan of a statement; its text is made when there is none yet, or
 * when metadata has changed.
 */
extern SPIPlanPtr statement_plan(const StatementSubject *subject,
								 int nargs, Oid *argtypes,
								 StatementText make_text);
extern void statements_xact_end(void);

/* ------------------------------------------------------------------------
 * in row_draft.c: new rows of plain documents
 * ------------------------------------------------------------------------
 */

/* A row in the making. */
typedef struct RowDraft
{
	Datum	   *values;
	bool	   *nulls;
	Bitmapset  *given;			/* columns that have a value; not to be
								 * changed */
} RowDraft;

/*
 * A new row from a JSON object, with its defaults.  Returns false, and does
 * nothing, unless the document is plain.
 */
extern bool row_draft(Model *model, const JsonbContainer *doc,
					  RowDraft *draft);

/* Its key, which points into the draft; false if a part of it is NULL. */
extern bool row_draft_key(Model *model, const RowDraft *draft, Datum *key);

/* The row, in the current memory context. */
extern HeapTuple row_draft_form(Model *model, const RowDraft *draft);

/* ------------------------------------------------------------------------
 * in row_maker.c: new rows, and what of them is given
 * ------------------------------------------------------------------------
 */

/*
 * A new row with the defaults of the columns that given does not have,
 * evaluated now; the columns filled are added to *given.
 */
extern Datum row_with_defaults(Model *model, Datum row, Bitmapset **given);
extern void row_init(void);
extern void row_xact_end(void);

/* 428C9 if an identity column that is always generated is among those. */
extern void row_require_settable(Model *model, Bitmapset *given);

/* The columns that a row passed to orm.add gives: those not NULL. */
extern Bitmapset *row_columns_given(Model *model, Datum row);

/* 22023 unless the document is a JSON object. */
extern void require_object_document(Model *model, Jsonb *doc);

/* ------------------------------------------------------------------------
 * in row.c
 * ------------------------------------------------------------------------
 */

/* Do rows of the model have an xmin that tells their versions apart? */
extern bool model_has_xmin(Model *model);

/* The version column of a row; NULL is 22004. -1 if the model has none. */
extern int64 row_version_number(Model *model, HeapTuple row);

/*
 * The row of a slot as a flat tuple; the slot has the columns of the row
 * type, with or without its dropped ones, and nextra columns behind them.
 */
extern HeapTuple row_of_slot(Model *model, TupleTableSlot *slot, int nextra);

/*
 * The same for what session_select_list names, the row and its xmin, with
 * nextra columns behind that.
 */
extern HeapTuple row_of_loaded_slot(Model *model, TupleTableSlot *slot,
									int nextra, TransactionId *xmin);

extern void row_deform(Model *model, Datum row, Datum *values, bool *nulls);

/* A column of a row, NULL or not. */
extern Datum row_column(Model *model, Datum row, AttrNumber attnum,
						bool *isnull);

/* A row with some columns replaced. */
extern Datum row_with_columns(Model *model, Datum row, int n,
							  const AttrNumber *attnums, const Datum *values,
							  const bool *nulls);

/* Columns as a Bitmapset, offset as usual. */
extern Bitmapset *column_set(int n, const AttrNumber *attnums);

/* A value as that of another type, by text where the types differ. */
extern Datum convert_value(Datum value, Oid from, Oid to, int32 typmod);

/* Equality of values of columns that a relationship pairs. */
extern bool column_values_equal(Model *a_model, AttrNumber a_attnum, Datum a,
								Model *b_model, AttrNumber b_attnum, Datum b);

/* A composite Datum seen as a tuple, without a copy. */
extern HeapTupleData row_as_tuple(Datum row);

/* Copies a composite Datum into a palloc'd tuple. */
extern HeapTuple row_to_tuple(Datum row);
extern Datum row_from_tuple(Model *model, HeapTuple tuple);

/* A row that has nothing but its key: enough to find the stored one. */
extern Datum row_of_key(Model *model, const Datum *key);
extern HeapTuple row_of_key_tuple(Model *model, const Datum *key);

/* Columns in which the two rows differ, of those in among (or of all). */
extern Bitmapset *row_difference(Model *model, HeapTuple a, HeapTuple b,
								 Bitmapset *among);

/*
 * Columns that an UPDATE can set: neither dropped nor generated nor key, nor
 * the version, which the UPDATE counts on.
 */
extern Bitmapset *row_updatable_columns(Model *model);

/* base with the columns in which taken from other. */
extern HeapTuple row_overlay(Model *model, HeapTuple base, HeapTuple other,
							 Bitmapset *which);

/* ------------------------------------------------------------------------
 * in access.c: privileges
 * ------------------------------------------------------------------------
 */
extern void access_init(void);

/* 42501 unless the user has the privilege on all those columns. */
extern void access_require(Model *model, AclMode mode, Bitmapset *columns);

/* 42501 unless the user may read whole rows: what is stored comes back. */
extern void access_require_select(Model *model);

/*
 * Holds the table's definition still for as long as it has pending objects,
 * whose rows are of its type.
 */
extern void access_lock(Model *model);

/* May the present user see a row from memory alone? 42501 without SELECT. */
extern bool access_memory_suffices(Model *model);

/* ------------------------------------------------------------------------
 * in own_statement.c
 * ------------------------------------------------------------------------
 */
extern bool is_own_statement(QueryDesc *query_desc);

/* Shows its text at DEBUG1. */
extern void own_statement_show(SPIPlanPtr plan);

/* ------------------------------------------------------------------------
 * in key_read.c
 * ------------------------------------------------------------------------
 */

/* Is given the stored tuple, and the number of its key. */
typedef void (*KeyReadTake) (TupleTableSlot *slot, int i, void *arg);

/*
 * Reads the rows of keys by the plan of STATEMENT_LOAD, but without an
 * executor.  Returns false, and has done nothing, where that is not the same.
 */
extern bool key_read(SPIPlanPtr plan, Model *model, int n, Datum **keys,
					 KeyReadTake take, void *arg);

/* ------------------------------------------------------------------------
 * in autoflush.c
 * ------------------------------------------------------------------------
 */
extern void autoflush_init(void);

#endif							/* PG_ORM_SESSION_INTERNAL_H */

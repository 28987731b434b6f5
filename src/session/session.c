/*-------------------------------------------------------------------------
 *
 * session.c
 *	  The registry of sessions of this backend, which one is current, and
 *	  what happens to all of them when a (sub)transaction ends.
 *
 * A session lives in the registry for as long as it has objects or is named
 * by orm.session; others are forgotten at the end of the transaction, so that
 * a pooled connection does not collect the names of its clients.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"

#include "compat.h"
#include "session/flush.h"
#include "session/internal.h"
#include "session/transaction.h"

/* A savepoint is named after its session with room for ".N" behind it. */
#define SESSION_NAME_MAX 48

char	   *orm_session_setting = NULL;
bool		orm_autoflush = true;
bool		orm_expire_on_commit = true;
int			orm_identity_map_limit = 10000;
int			orm_identity_map_memory = 65536;

static HTAB *sessions = NULL;
static MemoryContext sessions_context = NULL;

/* What orm.session names; NULL until it is asked for. */
static Session *session_of_setting = NULL;

/* Sessions begun by orm.begin, innermost last; in TopTransactionContext. */
static List *scopes = NIL;

/* ------------------------------------------------------------------------
 * registry
 * ------------------------------------------------------------------------
 */

/* Why a name cannot be a session's, or NULL if it can. */
static const char *
session_name_problem(const char *name)
{
	if (name[0] == '\0')
		return "A session name must not be empty.";
	if (strlen(name) > SESSION_NAME_MAX)
		return "A session name has at most 48 bytes.";
	if (strchr(name, '.') != NULL)
		return "A session name has no dot: \"name.1\" is the name of a savepoint.";
	return NULL;
}

static void
sessions_create_registry(void)
{
	HASHCTL		control = {0};

	sessions_context = AllocSetContextCreate(TopMemoryContext,
											 "pg_orm sessions",
											 ALLOCSET_SMALL_SIZES);
	control.keysize = NAMEDATALEN;
	control.entrysize = sizeof(Session);
	control.hcxt = sessions_context;
	sessions = hash_create("pg_orm sessions", 8, &control,
						   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static Session *
session_find_by_name(const char *name)
{
	return sessions ? hash_search(sessions, name, HASH_FIND, NULL) : NULL;
}

Session *
session_open(const char *name)
{
	const char *problem = session_name_problem(name);
	Session    *session;
	MemoryContext context;
	MemoryContext objects_context;

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid session name: \"%s\"", name),
				 errdetail("%s", problem)));
	session = session_find_by_name(name);
	if (session != NULL)
		return session;

	if (sessions == NULL)
		sessions_create_registry();
	context = AllocSetContextCreate(sessions_context, "pg_orm session",
									ALLOCSET_SMALL_SIZES);
	MemoryContextSetIdentifier(context, MemoryContextStrdup(context, name));
	objects_context = AllocSetContextCreate(context, "pg_orm objects",
											ALLOCSET_DEFAULT_SIZES);
	/* without an error from here on, or half a session would be found */
	session = hash_search(sessions, name, HASH_ENTER, NULL);
	memset((char *) session + NAMEDATALEN, 0, sizeof(Session) - NAMEDATALEN);
	session->context = context;
	session->objects_context = objects_context;
	identity_map_create(session);
	return session;
}

Session *
session_current_if_any(void)
{
	if (scopes != NIL)
		return llast(scopes);
	if (session_of_setting == NULL)
		session_of_setting = session_find_by_name(orm_session_setting);
	return session_of_setting;
}

Session *
session_in_scope(void)
{
	Session    *session = session_current_if_any();

	if (session == NULL)
		session = session_of_setting = session_open(orm_session_setting);
	return session;
}

Session *
session_current(void)
{
	Session    *session = session_in_scope();

	session_enter(session);
	return session;
}

const char *
session_name(Session *session)
{
	return session->name;
}

void
session_enter(Session *session)
{
	if (session->entered)
		return;
	session->maker = sessionmaker_of_session(session->name);
	if (OidIsValid(session->maker.engine))
		engine_slot_take(session->maker.engine, &session->slot);
	session->entered = true;
}

void
session_leave(Session *session)
{
	engine_slot_give_back(&session->slot);
	session->entered = false;
}

static bool
maker_setting(MakerSetting setting, bool otherwise)
{
	return setting == MAKER_UNSET ? otherwise : setting == MAKER_ON;
}

bool
session_autoflushes(Session *session)
{
	return maker_setting(session->maker.autoflush, orm_autoflush);
}

void
session_begin_scope(Session *session)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	scopes = lappend(scopes, session);
	MemoryContextSwitchTo(old);
}

void
session_end_scope(Session *session)
{
	scopes = list_delete_ptr(scopes, session);
}

static void
session_remove(Session *session)
{
	identity_map_reset(session);
	session_leave(session);
	session_end_scope(session);
	if (session_of_setting == session)
		session_of_setting = NULL;
	MemoryContextDelete(session->context);
	hash_search(sessions, session->name, HASH_REMOVE, NULL);
}

void
sessions_each(void (*visit) (Session *session, void *arg), void *arg)
{
	HASH_SEQ_STATUS scan;
	Session    *session;

	if (sessions == NULL)
		return;
	hash_seq_init(&scan, sessions);
	while ((session = hash_seq_search(&scan)) != NULL)
		visit(session, arg);
}

void
session_drop(Session *session)
{
	identity_map_unlink_versions(session);
	session_remove(session);
}

static void
session_drop_visit(Session *session, void *arg)
{
	session_drop(session);
}

void
sessions_drop_all(void)
{
	sessions_each(session_drop_visit, NULL);
}

void
session_require_writable(const char *call)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot execute %s within a security-restricted operation",
						call)));
	PreventCommandIfReadOnly(call);
	PreventCommandIfParallelMode(call);
}

/* ------------------------------------------------------------------------
 * expiry over all sessions
 * ------------------------------------------------------------------------
 */
typedef struct ExpireArgument
{
	Oid			relid;
	bool		every_model;
	Session    *except;
} ExpireArgument;

static void
model_objects_expire(ModelObjects *entry, bool except_own)
{
	dlist_iter	iter;

	entry->expirations++;
	if (!entry->loaded || (except_own && !entry->several_scopes))
		return;
	dlist_foreach(iter, &entry->objects)
	{
		Object	   *object = dlist_container(Object, model_node, iter.cur);

		if (except_own && object->userid == GetUserId() &&
			object->row_security == row_security)
			continue;
		object_expire_values(object);
	}
	if (!except_own)
		entry->loaded = false;
}

static void
session_expire_visit(Session *session, void *arg)
{
	ExpireArgument *argument = arg;
	HASH_SEQ_STATUS scan;
	ModelObjects *entry;

	if (session->models == NULL || session->nobjects == 0)
		return;
	hash_seq_init(&scan, session->models);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		bool		is_model = entry->key.relid == argument->relid;

		if (is_model || entry->indirect || argument->every_model)
			model_objects_expire(entry,
								 is_model && session == argument->except);
	}
}

void
sessions_expire_model(Oid relid, Session *except)
{
	/* a view may stand for any relation */
	ExpireArgument argument = {
		.relid = relid,
		.every_model = !OidIsValid(relid) ||
		get_rel_relkind(relid) == RELKIND_VIEW,
		.except = except
	};

	if (sessions_object_count > 0)
		sessions_each(session_expire_visit, &argument);
}

static void
sessions_expire_children(Oid relid)
{
	ListCell   *cell;

	if (!has_subclass(relid))
		return;
	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
	{
		if (lfirst_oid(cell) != relid)
			sessions_expire_model(lfirst_oid(cell), NULL);
	}
}

static void
sessions_expire_ancestors(Oid relid)
{
	Model	   *model = model_by_relid(relid, true);
	ListCell   *cell;

	foreach(cell, model != NULL ? model->parents : relation_parents(relid))
	{
		sessions_expire_model(lfirst_oid(cell), NULL);
		sessions_expire_ancestors(lfirst_oid(cell));
	}
}

void
sessions_expire_written(Oid relid, Session *except)
{
	if (sessions_object_count == 0)
		return;
	sessions_expire_model(relid, except);
	sessions_expire_children(relid);
	sessions_expire_ancestors(relid);
}

static void
session_invalidate_visit(Session *session, void *arg)
{
	identity_map_invalidate(session, *(Oid *) arg);
}

/* Also with no objects at all: what is kept per model outlives them. */
static void
sessions_invalidate(Oid relid)
{
	sessions_each(session_invalidate_visit, &relid);
}

/* What has changes pending of a relation, or links of it. */
typedef struct PendingArgument
{
	Oid			relid;
	const char *session_name;	/* or NULL: nothing as yet */
} PendingArgument;

static void
session_pending_visit(Session *session, void *arg)
{
	PendingArgument *argument = arg;
	Oid			relid = argument->relid;
	dlist_iter	iter;

	dlist_foreach(iter, &session->unflushed)
	{
		ModelObjects *entry = dlist_container(Object, list_node,
											  iter.cur)->model_objects;

		if (entry->key.relid == relid ||
			(entry->key.association &&
			 (entry->owner == relid || entry->target == relid)))
			argument->session_name = session->name;
	}
}

static const char *
sessions_pending_for(Oid relid, bool may_flush)
{
	PendingArgument argument = {.relid = relid};

	if (sessions_unflushed_count == 0)
		return NULL;
	if (may_flush && session_current_if_any() != NULL)
		session_autoflush(session_current_if_any());
	sessions_each(session_pending_visit, &argument);
	return argument.session_name;
}

/* ------------------------------------------------------------------------
 * the end of transactions
 * ------------------------------------------------------------------------
 */

/* The server has freed the slots, or a prepared transaction has them. */
static void
session_forget_slot(Session *session, void *arg)
{
	session->slot.number = 0;
	session->entered = false;
}

static void
session_transaction_end(Session *session, void *arg)
{
	bool		committed = *(bool *) arg;

	if (committed && !maker_setting(session->maker.expire_on_commit,
									orm_expire_on_commit))
		identity_map_keep(session);
	else
		identity_map_reset(session);
	session->hold_nest_level = 0;
	session->flushing = session->writing = false;
	if (session->nobjects == 0 &&
		strcmp(session->name, orm_session_setting) != 0)
		session_remove(session);
}

static void
sessions_transaction_end(XactEvent event)
{
	bool		committed = event == XACT_EVENT_COMMIT;

	sessions_each(session_forget_slot, NULL);
	transaction_xact_event(event);
	scopes = NIL;
	session_of_setting = NULL;
	sessions_each(session_transaction_end, &committed);
	identity_map_xact_end();
	commit_flush_forget();
	row_xact_end();
	statements_xact_end();
}

/* The end of core's loop has flushed; what is pending now would be lost. */
static void
sessions_check_flushed(void)
{
	if (sessions_unflushed_count > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a session has pending changes that were not flushed before the end of the transaction")));
}

static void
sessions_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			sessions_check_flushed();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			flush_progress_reset();
			sessions_transaction_end(event);
			break;
		default:
			break;
	}
}

static void
session_flush_stopped(Session *session, void *arg)
{
	/* a flush runs within one subtransaction: its end is the flush's */
	if (session->flush_nest_level >= GetCurrentTransactionNestLevel())
		session->flushing = session->writing = false;
	if (session->hold_nest_level >= GetCurrentTransactionNestLevel())
		session->hold_nest_level = 0;
}

static void
sessions_subxact_callback(SubXactEvent event, SubTransactionId my_subid,
						  SubTransactionId parent_subid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		flush_progress_reset();
		sessions_each(session_flush_stopped, NULL);
	}
	identity_map_subxact(event, my_subid, parent_subid);
	transaction_subxact_event(event, my_subid, parent_subid);
}

/* ------------------------------------------------------------------------
 * settings
 * ------------------------------------------------------------------------
 */
static bool
check_session_setting(char **value, void **extra, GucSource source)
{
	const char *problem = session_name_problem(*value);

	if (problem == NULL)
		return true;
	GUC_check_errdetail("%s", problem);
	return false;
}

static void
assign_session_setting(const char *value, void *extra)
{
	session_of_setting = NULL;
}

/* SHOW tells which session is current, be it set or begun. */
static const char *
show_session_setting(void)
{
	return scopes != NIL ? session_name(llast(scopes)) : orm_session_setting;
}

static void
session_define_settings(void)
{
	DefineCustomStringVariable("orm.session",
							   "Names the session that calls belong to.",
							   "A session of another name does not see this one's objects. Behind a pooler use CALL orm.begin(name) or SET LOCAL.",
							   &orm_session_setting, "main", PGC_USERSET, 0,
							   check_session_setting, assign_session_setting,
							   show_session_setting);
	DefineCustomBoolVariable("orm.autoflush",
							 "Writes pending changes before statements that may read tables.",
							 "Savepoints of the session, COMMIT and PREPARE TRANSACTION flush in any case.",
							 &orm_autoflush, true, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("orm.expire_on_commit",
							 "Empties the identity maps when a transaction commits.",
							 "If off, loaded objects outlive the transaction, without a look at what others change.",
							 &orm_expire_on_commit, true, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("orm.identity_map_limit",
							"Number of clean objects that a session remembers.",
							"Beyond it the least recently used are forgotten; new, changed and deleted ones never are.",
							&orm_identity_map_limit, 10000, 0, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("orm.identity_map_memory",
							"Memory for the rows of clean objects that a session remembers.",
							"Beyond it the least recently used are forgotten; new, changed and deleted ones never are.",
							&orm_identity_map_memory, 65536, 64,
							MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
}

void
session_init(void)
{
	session_define_settings();
	model_on_invalidation(sessions_invalidate);
	model_on_forget(sessions_pending_for);
	RegisterXactCallback(sessions_xact_callback, NULL);
	RegisterSubXactCallback(sessions_subxact_callback, NULL);
	access_init();
	row_init();
	autoflush_init();
}

/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  The config tables orm.engine_def and orm.sessionmaker_def: a cache of
 *	  their rows, and the functions that write them.
 *
 * The cache is one memory context with all rows, below CacheMemoryContext.
 * It is read anew, whole, at the first question after a relcache invalidation
 * of one of the tables, which their row trigger sends; the callback only
 * counts.  Rows are read with a catalog snapshot, as PostgreSQL's own
 * catalogs are, so that a change holds for whoever begins after its commit
 * whatever the isolation level.
 *
 * Writing goes through SPI as the owner of the tables: who may do it is said
 * by the EXECUTE privilege on the functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "engine/internal.h"
#include "execute_as.h"
#include "pg_orm.h"

/* Columns of orm.engine_def; new ones are only ever added at the end. */
enum
{
	ENGINE_NAME = 1,
	ENGINE_ID,
	ENGINE_POOL_SIZE,
	ENGINE_MAX_OVERFLOW,
	ENGINE_POOL_TIMEOUT,
	ENGINE_POOL_RECYCLE
};

/* Columns of orm.sessionmaker_def. */
enum
{
	MAKER_NAME = 1,
	MAKER_ENGINE,
	MAKER_AUTOFLUSH,
	MAKER_EXPIRE_ON_COMMIT
};

/* A maker's name is a session's, which a savepoint is named after. */
#define MAKER_NAME_MAX 48

typedef struct Maker
{
	char	   *name;
	char	   *engine;
	Sessionmaker settings;
} Maker;

static MemoryContext cache_context = NULL;
static List *engines = NIL;		/* of Engine */
static List *makers = NIL;		/* of Maker */

/* The cache holds what there was after so many invalidations; 0: nothing. */
static uint64 invalidations = 1;
static uint64 cached_at = 0;

/* The config tables, while known. */
static Oid	engine_def = InvalidOid;
static Oid	sessionmaker_def = InvalidOid;

/* ------------------------------------------------------------------------
 * the cache
 * ------------------------------------------------------------------------
 */
static void
engine_invalidate(Datum arg, Oid relid)
{
	if (OidIsValid(relid) && OidIsValid(engine_def) &&
		relid != engine_def && relid != sessionmaker_def)
		return;
	invalidations++;
}

/* Finds the tables; false if there are none. */
static bool
find_config_tables(void)
{
	Oid			schema = get_namespace_oid(ORM_SCHEMA, true);

	if (!OidIsValid(schema))
		return false;
	engine_def = get_relname_relid("engine_def", schema);
	sessionmaker_def = get_relname_relid("sessionmaker_def", schema);
	return OidIsValid(engine_def) && OidIsValid(sessionmaker_def);
}

static void *
read_engine(const Datum *values, const bool *nulls)
{
	Engine	   *engine = palloc0(sizeof(Engine));

	engine->name = TextDatumGetCString(values[ENGINE_NAME - 1]);
	engine->id = DatumGetObjectId(values[ENGINE_ID - 1]);
	engine->pool_size = DatumGetInt32(values[ENGINE_POOL_SIZE - 1]);
	engine->max_overflow = DatumGetInt32(values[ENGINE_MAX_OVERFLOW - 1]);
	engine->pool_timeout = DatumGetFloat8(values[ENGINE_POOL_TIMEOUT - 1]);
	engine->pool_recycle = DatumGetInt32(values[ENGINE_POOL_RECYCLE - 1]);
	return engine;
}

static MakerSetting
read_setting(const Datum *values, const bool *nulls, int column)
{
	if (nulls[column - 1])
		return MAKER_UNSET;
	return DatumGetBool(values[column - 1]) ? MAKER_ON : MAKER_OFF;
}

static void *
read_maker(const Datum *values, const bool *nulls)
{
	Maker	   *maker = palloc0(sizeof(Maker));

	maker->name = TextDatumGetCString(values[MAKER_NAME - 1]);
	maker->engine = TextDatumGetCString(values[MAKER_ENGINE - 1]);
	maker->settings.autoflush = read_setting(values, nulls, MAKER_AUTOFLUSH);
	maker->settings.expire_on_commit = read_setting(values, nulls,
													MAKER_EXPIRE_ON_COMMIT);
	return maker;
}

/* All rows of a config table. */
static List *
read_table(Oid relid, void *(*reader) (const Datum *values,
									   const bool *nulls))
{
	Relation	rel = table_open(relid, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0,
										  NULL);
	int			natts = RelationGetNumberOfAttributes(rel);
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	List	   *result = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		result = lappend(result, reader(values, nulls));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static const Engine *
engine_by_name(const char *name)
{
	ListCell   *cell;

	foreach(cell, engines)
	{
		Engine	   *engine = lfirst(cell);

		if (strcmp(engine->name, name) == 0)
			return engine;
	}
	return NULL;
}

/* Makers are told the id of their engine; without one they have no limit. */
static void
makers_bind(void)
{
	ListCell   *cell;

	foreach(cell, makers)
	{
		Maker	   *maker = lfirst(cell);
		const Engine *engine = engine_by_name(maker->engine);

		maker->settings.engine = engine ? engine->id : InvalidOid;
	}
}

static void
cache_read(void)
{
	uint64		before = invalidations;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "pg_orm engines",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *new_engines = NIL;
	List	   *new_makers = NIL;

	if (find_config_tables())
	{
		new_engines = read_table(engine_def, read_engine);
		new_makers = read_table(sessionmaker_def, read_maker);
	}
	MemoryContextSwitchTo(old);

	if (cache_context != NULL)
		MemoryContextDelete(cache_context);
	MemoryContextSetParent(context, CacheMemoryContext);
	cache_context = context;
	engines = new_engines;
	makers = new_makers;
	makers_bind();
	cached_at = before;
}

static void
cache_use(void)
{
	if (cached_at != invalidations)
		cache_read();
}

Oid
engine_config_table(void)
{
	cache_use();
	return engine_def;
}

/* A copy, since whatever is called next may read the cache anew. */
static Engine *
engine_copy(const Engine *engine)
{
	Engine	   *copy = palloc(sizeof(Engine));

	*copy = *engine;
	copy->name = pstrdup(engine->name);
	return copy;
}

Engine *
engine_by_id(Oid id)
{
	ListCell   *cell;

	cache_use();
	foreach(cell, engines)
	{
		Engine	   *engine = lfirst(cell);

		if (engine->id == id)
			return engine_copy(engine);
	}
	return NULL;
}

static bool
is_session_of_maker(const char *session_name, const char *maker_name)
{
	size_t		length = strlen(maker_name);

	return strncmp(session_name, maker_name, length) == 0 &&
		(session_name[length] == '\0' || session_name[length] == '/');
}

Sessionmaker
sessionmaker_of_session(const char *session_name)
{
	Sessionmaker found = {0};
	size_t		found_length = 0;
	ListCell   *cell;

	cache_use();
	foreach(cell, makers)
	{
		Maker	   *maker = lfirst(cell);
		size_t		length = strlen(maker->name);

		if (length > found_length &&
			is_session_of_maker(session_name, maker->name))
		{
			found = maker->settings;
			found_length = length;
		}
	}
	return found;
}

void
engine_init(void)
{
	CacheRegisterRelcacheCallback(engine_invalidate, (Datum) 0);
}

PG_FUNCTION_INFO_V1(orm_engines_changed);
Datum
orm_engines_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("orm.engines_changed must be called as a trigger")));
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/* ------------------------------------------------------------------------
 * writing
 * ------------------------------------------------------------------------
 */

/*
 * One change at a time, until its transaction ends: what is checked before it
 * (is the engine there, has it makers) stays true.
 */
static void
config_lock(void)
{
	LockRelationOid(engine_config_table(), ShareRowExclusiveLock);
}

/* Executes one statement on the config tables as their owner. */
static uint64
config_execute(const char *sql, int nargs, Oid *types, Datum *values,
			   const char *nulls)
{
	Relation	rel = table_open(engine_config_table(), AccessShareLock);
	Oid			owner = rel->rd_rel->relowner;

	table_close(rel, AccessShareLock);
	return execute_as(owner, 0, sql, nargs, types, values, nulls);
}

static uint64
config_delete(const char *sql, const char *name)
{
	Oid			type = TEXTOID;
	Datum		value = CStringGetTextDatum(name);

	return config_execute(sql, 1, &type, &value, NULL);
}

static void
require_argument(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", name)));
}

static char *
name_argument(FunctionCallInfo fcinfo, int argno, const char *name)
{
	require_argument(fcinfo, argno, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

static void
require_engine(const char *name)
{
	cache_use();
	if (engine_by_name(name) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("engine \"%s\" does not exist", name),
				 errhint("orm.engines has those that do.")));
}

static void
report_bad_option(const char *option, const char *rule)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value of %s", option),
			 errdetail("%s", rule)));
}

/* ------------------------------------------------------------------------
 * engines
 * ------------------------------------------------------------------------
 */
static void
check_engine(const Engine *engine)
{
	if (engine->name[0] == '\0')
		report_bad_option("name", "The name of an engine must not be empty.");
	if (engine->pool_size < 0)
		report_bad_option("pool_size",
						  "It is a number of sessions, or 0 for no limit.");
	if (engine->max_overflow < -1)
		report_bad_option("max_overflow",
						  "It is a number of sessions, or -1 for no limit.");
	if ((int64) engine->pool_size + engine->max_overflow > ENGINE_MAX_SLOTS)
		report_bad_option("pool_size",
						  psprintf("pool_size and max_overflow together are at most %d; 0 is no limit.",
								   ENGINE_MAX_SLOTS));
	if (isnan(engine->pool_timeout) || isinf(engine->pool_timeout) ||
		engine->pool_timeout < 0)
		report_bad_option("pool_timeout",
						  "It is a number of seconds, 0 for not to wait.");
	if (engine->pool_recycle < -1)
		report_bad_option("pool_recycle",
						  "It is a number of seconds, or -1 for never.");
}

static Oid
new_engine_id(void)
{
	Oid			id;

	do
		id = GetNewObjectId();
	while (engine_by_id(id) != NULL);
	return id;
}

static void
engine_write(const Engine *engine)
{
	Oid			types[] = {TEXTOID, OIDOID, INT4OID, INT4OID, FLOAT8OID,
	INT4OID};
	Datum		values[] = {
		CStringGetTextDatum(engine->name),
		ObjectIdGetDatum(engine->id),
		Int32GetDatum(engine->pool_size),
		Int32GetDatum(engine->max_overflow),
		Float8GetDatum(engine->pool_timeout),
		Int32GetDatum(engine->pool_recycle)
	};

	config_execute("INSERT INTO orm.engine_def AS d"
				   " (name, id, pool_size, max_overflow, pool_timeout,"
				   " pool_recycle)"
				   " VALUES ($1, $2, $3, $4, $5, $6)"
				   " ON CONFLICT (name) DO UPDATE SET"
				   " pool_size = excluded.pool_size,"
				   " max_overflow = excluded.max_overflow,"
				   " pool_timeout = excluded.pool_timeout,"
				   " pool_recycle = excluded.pool_recycle",
				   lengthof(values), types, values, NULL);
}

PG_FUNCTION_INFO_V1(orm_create_engine);
Datum
orm_create_engine(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "pool_size", "max_overflow",
	"pool_timeout", "pool_recycle"};
	Engine		engine;

	for (int i = 0; i < lengthof(names); i++)
		require_argument(fcinfo, i, names[i]);
	engine.name = name_argument(fcinfo, 0, "name");
	engine.pool_size = PG_GETARG_INT32(1);
	engine.max_overflow = PG_GETARG_INT32(2);
	engine.pool_timeout = PG_GETARG_FLOAT8(3);
	engine.pool_recycle = PG_GETARG_INT32(4);
	check_engine(&engine);
	config_lock();
	engine.id = new_engine_id();
	engine_write(&engine);
	PG_RETURN_VOID();
}

/* The makers of an engine, or NULL if it has none. */
static char *
makers_of_engine(const char *name)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, makers)
	{
		Maker	   *maker = lfirst(cell);

		if (strcmp(maker->engine, name) == 0)
			appendStringInfo(&text, "%s\"%s\"", text.len > 0 ? ", " : "",
							 maker->name);
	}
	return text.len > 0 ? text.data : NULL;
}

PG_FUNCTION_INFO_V1(orm_drop_engine);
Datum
orm_drop_engine(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo, 0, "name");
	char	   *in_use;

	config_lock();
	require_engine(name);
	in_use = makers_of_engine(name);
	if (in_use != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("engine \"%s\" has sessionmakers", name),
				 errdetail("They are: %s.", in_use),
				 errhint("Drop them first by orm.drop_sessionmaker, or give them another engine by orm.sessionmaker.")));
	config_delete("DELETE FROM orm.engine_def"
				  " WHERE name OPERATOR(pg_catalog.=) $1", name);
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------------
 * sessionmakers
 * ------------------------------------------------------------------------
 */
static void
check_maker_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > MAKER_NAME_MAX ||
		strchr(name, '.') != NULL)
		report_bad_option("name",
						  "The name of a sessionmaker is that of a session: not empty, at most 48 bytes, and without a dot.");
}

PG_FUNCTION_INFO_V1(orm_sessionmaker);
Datum
orm_sessionmaker(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo, 0, "name");
	char	   *engine = name_argument(fcinfo, 1, "engine");
	Oid			types[] = {TEXTOID, TEXTOID, BOOLOID, BOOLOID};
	Datum		values[] = {
		CStringGetTextDatum(name),
		CStringGetTextDatum(engine),
		PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2),
		PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3)
	};
	const char	nulls[] = {' ', ' ', PG_ARGISNULL(2) ? 'n' : ' ',
	PG_ARGISNULL(3) ? 'n' : ' '};

	check_maker_name(name);
	config_lock();
	require_engine(engine);
	config_execute("INSERT INTO orm.sessionmaker_def AS d"
				   " (name, engine, autoflush, expire_on_commit)"
				   " VALUES ($1, $2, $3, $4)"
				   " ON CONFLICT (name) DO UPDATE SET"
				   " engine = excluded.engine,"
				   " autoflush = excluded.autoflush,"
				   " expire_on_commit = excluded.expire_on_commit",
				   lengthof(values), types, values, nulls);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orm_drop_sessionmaker);
Datum
orm_drop_sessionmaker(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo, 0, "name");

	config_lock();
	if (config_delete("DELETE FROM orm.sessionmaker_def"
					  " WHERE name OPERATOR(pg_catalog.=) $1", name) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("sessionmaker \"%s\" does not exist", name),
				 errhint("orm.sessionmakers has those that do.")));
	PG_RETURN_VOID();
}

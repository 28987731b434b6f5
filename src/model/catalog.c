/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  The config tables orm.model_def and orm.relationship_def: reading
 *	  their rows, and the only way to write them.
 *
 * Reading goes by index with a catalog snapshot, as for PostgreSQL's own
 * catalogs: the newest committed state and the own commands before this one,
 * whatever the isolation level, since the relation cache works like that
 * too.  No hook and no permission is involved.  What is returned lives in
 * the caller's memory context.  The OIDs of the tables are kept until an
 * invalidation; nothing else lives longer than a call.
 *
 * Writing goes through SPI as the owner of the tables, so that nobody else
 * needs a privilege on them, and so that their row triggers run; the
 * search_path is none of the caller's then, nor can it be.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "execute_as.h"
#include "model/internal.h"
#include "pg_orm.h"

/* Columns of orm.model_def; new ones are only ever added at the end. */
enum
{
	MODEL_CLASS = 1,
	MODEL_RELATION,
	MODEL_SCHEMA_NAME,
	MODEL_TABLE_NAME,
	MODEL_OWNER,
	MODEL_VERSION_COLUMN,
	MODEL_PRIMARY_KEY,
	MODEL_DECLARATION,
	MODEL_EXTENSION,
	MODEL_NATTS = MODEL_EXTENSION
};

/* Columns of orm.relationship_def. */
enum
{
	REL_CLASS = 1,
	REL_NAME,
	REL_TARGET,
	REL_BACKREF,
	REL_SECONDARY,
	REL_FOREIGN_KEYS,
	REL_REMOTE_SIDE,
	REL_ORDER_BY,
	REL_CASCADE,
	REL_PASSIVE_DELETES,
	REL_VIEWONLY,
	REL_USELIST,
	REL_DIRECTION,
	REL_CONSTRAINT_NAME,
	REL_LOCAL_COLUMNS,
	REL_REMOTE_COLUMNS,
	REL_SECONDARY_RELATION,
	REL_SECONDARY_LOCAL,
	REL_SECONDARY_REMOTE,
	REL_SECONDARY_CONSTRAINT,
	REL_EXTENSION,
	REL_NATTS = REL_EXTENSION
};

#define MAX_NATTS REL_NATTS

/* The config tables and their indexes, while known. */
typedef struct CatalogOids
{
	bool		known;
	Oid			model_def;
	Oid			model_class_index;
	Oid			model_relation_index;
	Oid			relationship_def;
	Oid			relationship_class_index;
	Oid			relationship_target_index;
} CatalogOids;

static CatalogOids catalog;

/* A row taken apart, for the functions that make structs of it. */
typedef struct CatalogRow
{
	Datum		values[MAX_NATTS];
	bool		nulls[MAX_NATTS];
} CatalogRow;

typedef void *(*CatalogRowReader) (CatalogRow *row);

static bool
catalog_look_up(void)
{
	CatalogOids found = {0};
	Oid			schema;

	if (catalog.known)
		return true;
	schema = get_namespace_oid(ORM_SCHEMA, true);
	if (!OidIsValid(schema))
		return false;
	found.model_def = get_relname_relid("model_def", schema);
	found.model_class_index = get_relname_relid("model_def_pkey", schema);
	found.model_relation_index =
		get_relname_relid("model_def_relation_key", schema);
	found.relationship_def = get_relname_relid("relationship_def", schema);
	found.relationship_class_index =
		get_relname_relid("relationship_def_pkey", schema);
	found.relationship_target_index =
		get_relname_relid("relationship_def_target_idx", schema);
	if (!OidIsValid(found.model_def) ||
		!OidIsValid(found.model_class_index) ||
		!OidIsValid(found.model_relation_index) ||
		!OidIsValid(found.relationship_def) ||
		!OidIsValid(found.relationship_class_index) ||
		!OidIsValid(found.relationship_target_index))
		return false;
	found.known = true;
	catalog = found;
	return true;
}

Oid
catalog_model_def(void)
{
	return catalog_look_up() ? catalog.model_def : InvalidOid;
}

void
catalog_reset(void)
{
	catalog.known = false;
}

bool
catalog_is_config(Oid relid)
{
	return relid == catalog.model_def || relid == catalog.relationship_def;
}

/* ------------------------------------------------------------------------
 * reading
 * ------------------------------------------------------------------------
 */

List *
strings_of_array(Datum array)
{
	ArrayType  *arr = DatumGetArrayTypeP(array);
	bool		is_name = ARR_ELEMTYPE(arr) == NAMEOID;
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	List	   *result = NIL;

	deconstruct_array(arr, ARR_ELEMTYPE(arr), is_name ? NAMEDATALEN : -1,
					  false, is_name ? TYPALIGN_CHAR : TYPALIGN_INT,
					  &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("an array of names or of SQL must not contain NULL")));
		result = lappend(result, is_name ?
						 pstrdup(NameStr(*DatumGetName(elems[i]))) :
						 TextDatumGetCString(elems[i]));
	}
	return result;
}

static char *
row_text(CatalogRow *row, int column)
{
	return row->nulls[column - 1] ? NULL :
		TextDatumGetCString(row->values[column - 1]);
}

static char *
row_name(CatalogRow *row, int column)
{
	return row->nulls[column - 1] ? NULL :
		pstrdup(NameStr(*DatumGetName(row->values[column - 1])));
}

static List *
row_strings(CatalogRow *row, int column)
{
	return row->nulls[column - 1] ? NIL :
		strings_of_array(row->values[column - 1]);
}

static Oid
row_oid(CatalogRow *row, int column)
{
	return row->nulls[column - 1] ? InvalidOid :
		DatumGetObjectId(row->values[column - 1]);
}

static bool
row_bool(CatalogRow *row, int column)
{
	return row->nulls[column - 1] ? false :
		DatumGetBool(row->values[column - 1]);
}

static void *
read_model(CatalogRow *row)
{
	ModelDef   *def = palloc0(sizeof(ModelDef));

	def->class_name = row_text(row, MODEL_CLASS);
	def->relid = row_oid(row, MODEL_RELATION);
	def->schema_name = row_name(row, MODEL_SCHEMA_NAME);
	def->table_name = row_name(row, MODEL_TABLE_NAME);
	def->owner = row_name(row, MODEL_OWNER);
	def->version_column = row_name(row, MODEL_VERSION_COLUMN);
	def->primary_key = row_strings(row, MODEL_PRIMARY_KEY);
	def->declared = !row->nulls[MODEL_DECLARATION - 1];
	def->extension = row_name(row, MODEL_EXTENSION);
	return def;
}

static void
read_binding(CatalogRow *row, RelationshipDef *def)
{
	char	   *direction = row_text(row, REL_DIRECTION);

	def->bound = direction != NULL;
	if (!def->bound)
		return;
	if (strcmp(direction, "many-to-one") == 0)
		def->direction = RELATIONSHIP_MANY_TO_ONE;
	else if (strcmp(direction, "one-to-many") == 0)
		def->direction = RELATIONSHIP_ONE_TO_MANY;
	else
		def->direction = RELATIONSHIP_MANY_TO_MANY;
	def->constraint_name = row_name(row, REL_CONSTRAINT_NAME);
	def->local_columns = row_strings(row, REL_LOCAL_COLUMNS);
	def->remote_columns = row_strings(row, REL_REMOTE_COLUMNS);
	def->secondary_relation = row_oid(row, REL_SECONDARY_RELATION);
	def->secondary_local = row_strings(row, REL_SECONDARY_LOCAL);
	def->secondary_remote = row_strings(row, REL_SECONDARY_REMOTE);
	def->secondary_constraint = row_name(row, REL_SECONDARY_CONSTRAINT);
}

static void *
read_relationship(CatalogRow *row)
{
	RelationshipDef *def = palloc0(sizeof(RelationshipDef));

	def->stored = true;
	def->class_name = row_text(row, REL_CLASS);
	def->name = row_text(row, REL_NAME);
	def->target = row_text(row, REL_TARGET);
	def->backref = row_text(row, REL_BACKREF);
	def->secondary = row_text(row, REL_SECONDARY);
	def->foreign_keys = row_strings(row, REL_FOREIGN_KEYS);
	def->remote_side = row_strings(row, REL_REMOTE_SIDE);
	def->order_by = row_text(row, REL_ORDER_BY);
	def->cascade = row_text(row, REL_CASCADE);
	def->passive_deletes = row_bool(row, REL_PASSIVE_DELETES);
	def->viewonly = row_bool(row, REL_VIEWONLY);
	def->uselist = row_bool(row, REL_USELIST);
	def->uselist_given = !row->nulls[REL_USELIST - 1];
	def->extension = row_name(row, REL_EXTENSION);
	read_binding(row, def);
	return def;
}

/* Rows that match the keys, in the order of the index. */
static List *
catalog_scan(Oid table, Oid index, int nkeys, ScanKey keys,
			 CatalogRowReader reader)
{
	Relation	rel = table_open(table, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, index, true, NULL, nkeys,
										  keys);
	CatalogRow	row;
	HeapTuple	tuple;
	List	   *result = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		heap_deform_tuple(tuple, RelationGetDescr(rel), row.values,
						  row.nulls);
		result = lappend(result, reader(&row));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
text_key(ScanKey key, AttrNumber column, const char *value)
{
	/* the columns are COLLATE "C", which is what ScanKeyInit assumes */
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(value));
}

ModelDef *
model_def_by_class(const char *class_name)
{
	ScanKeyData key;
	List	   *rows;

	if (!catalog_look_up())
		return NULL;
	text_key(&key, MODEL_CLASS, class_name);
	rows = catalog_scan(catalog.model_def, catalog.model_class_index, 1,
						&key, read_model);
	return rows == NIL ? NULL : linitial(rows);
}

ModelDef *
model_def_by_relation(Oid relid)
{
	ScanKeyData key;
	List	   *rows;

	if (!catalog_look_up())
		return NULL;
	ScanKeyInit(&key, MODEL_RELATION, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	rows = catalog_scan(catalog.model_def, catalog.model_relation_index, 1,
						&key, read_model);
	return rows == NIL ? NULL : linitial(rows);
}

List *
model_defs(void)
{
	if (!catalog_look_up())
		return NIL;
	return catalog_scan(catalog.model_def, catalog.model_class_index, 0,
						NULL, read_model);
}

List *
relationship_defs(void)
{
	if (!catalog_look_up())
		return NIL;
	return catalog_scan(catalog.relationship_def,
						catalog.relationship_class_index, 0, NULL,
						read_relationship);
}

List *
relationship_defs_of_class(const char *class_name)
{
	ScanKeyData key;

	if (!catalog_look_up())
		return NIL;
	text_key(&key, REL_CLASS, class_name);
	return catalog_scan(catalog.relationship_def,
						catalog.relationship_class_index, 1, &key,
						read_relationship);
}

List *
relationship_defs_to_class(const char *class_name)
{
	ScanKeyData key;

	if (!catalog_look_up())
		return NIL;
	text_key(&key, REL_TARGET, class_name);
	return catalog_scan(catalog.relationship_def,
						catalog.relationship_target_index, 1, &key,
						read_relationship);
}

/* ------------------------------------------------------------------------
 * writing
 * ------------------------------------------------------------------------
 */

static CatalogParam
catalog_param(Oid type, Datum value, bool isnull)
{
	CatalogParam param = {type, value, isnull};

	return param;
}

CatalogParam
catalog_text(const char *value)
{
	return catalog_param(TEXTOID,
						 value ? CStringGetTextDatum(value) : (Datum) 0,
						 value == NULL);
}

CatalogParam
catalog_name(const char *value)
{
	Name		name;

	if (value == NULL)
		return catalog_param(NAMEOID, (Datum) 0, true);
	name = palloc0(sizeof(NameData));
	namestrcpy(name, value);
	return catalog_param(NAMEOID, NameGetDatum(name), false);
}

CatalogParam
catalog_oid(Oid type, Oid value)
{
	return catalog_param(type, ObjectIdGetDatum(value), !OidIsValid(value));
}

CatalogParam
catalog_bool(bool value, bool isnull)
{
	return catalog_param(BOOLOID, BoolGetDatum(value), isnull);
}

/* An empty list is written as NULL. */
static CatalogParam
catalog_strings(List *values, Oid elemtype, Oid arraytype)
{
	bool		is_name = elemtype == NAMEOID;
	Datum	   *elems;
	ArrayType  *array;
	int			n = 0;
	ListCell   *lc;

	if (values == NIL)
		return catalog_param(arraytype, (Datum) 0, true);
	elems = palloc(sizeof(Datum) * list_length(values));
	foreach(lc, values)
		elems[n++] = is_name ? catalog_name(lfirst(lc)).value :
			CStringGetTextDatum((char *) lfirst(lc));
	array = construct_array(elems, n, elemtype, is_name ? NAMEDATALEN : -1,
							false, is_name ? TYPALIGN_CHAR : TYPALIGN_INT);
	return catalog_param(arraytype, PointerGetDatum(array), false);
}

CatalogParam
catalog_names(List *values)
{
	return catalog_strings(values, NAMEOID, NAMEARRAYOID);
}

CatalogParam
catalog_texts(List *values)
{
	return catalog_strings(values, TEXTOID, TEXTARRAYOID);
}

static Oid
catalog_owner(void)
{
	HeapTuple	tuple;
	Oid			owner;

	if (!catalog_look_up())
		elog(ERROR, "the config tables of pg_orm are missing");
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(catalog.model_def));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u",
			 catalog.model_def);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

#define MAX_PARAMS 24

uint64
catalog_execute(const char *sql, int nparams, const CatalogParam *params)
{
	Oid			types[MAX_PARAMS];
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];

	Assert(nparams <= MAX_PARAMS);
	for (int i = 0; i < nparams; i++)
	{
		types[i] = params[i].type;
		values[i] = params[i].value;
		nulls[i] = params[i].isnull ? 'n' : ' ';
	}
	return execute_as(catalog_owner(), 0, sql, nparams, types, values, nulls);
}

char *
relation_sql(Oid relid)
{
	Oid			schema = get_rel_namespace(relid);

	return quote_qualified_identifier(get_namespace_name(schema),
									  get_rel_name(relid));
}

char *
catalog_current_extension(void)
{
	return creating_extension ?
		get_extension_name(CurrentExtensionObject) : NULL;
}

void
catalog_check_owner(Oid relid)
{
	if (!compat_class_ownercheck(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER,
					   get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

void
catalog_check_extension(const char *class_name, const char *extension)
{
	char	   *current;

	if (extension == NULL)
		return;
	current = catalog_current_extension();
	if (current == NULL || strcmp(current, extension) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("class \"%s\" belongs to extension \"%s\"",
						class_name, extension),
				 errhint("It goes with DROP EXTENSION %s.",
						 quote_identifier(extension))));
}

/* ------------------------------------------------------------------------
 * the row trigger
 * ------------------------------------------------------------------------
 */

/* A restore of a dump made by other means could bring a dangling number. */
static void
check_relation_exists(HeapTuple tuple, TupleDesc tupdesc)
{
	bool		isnull;
	Datum		relation = heap_getattr(tuple, MODEL_RELATION, tupdesc,
										&isnull);

	if (!isnull && !SearchSysCacheExists1(RELOID, relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist",
						DatumGetObjectId(relation))));
}

PG_FUNCTION_INFO_V1(orm_catalog_changed);
Datum
orm_catalog_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("orm.catalog_changed must be called as an AFTER ROW trigger")));

	if (RelationGetRelid(trigger->tg_relation) == catalog_model_def() &&
		TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		check_relation_exists(trigger->tg_trigtuple,
							  RelationGetDescr(trigger->tg_relation));

	/*
	 * The caches treat a change of a config table as a change of every
	 * model: changes are rare, and a class can be reached by many ways.
	 */
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

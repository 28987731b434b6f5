/*-------------------------------------------------------------------------
 *
 * automap.c
 *	  orm.automap: the tables of a schema become models, their foreign keys
 *	  relationships, with the names and cascades of the reference's automap.
 *
 * Nothing is kept in memory; the tables are locked as orm.map locks them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "model/internal.h"

/* A foreign key that could become a relationship. */
typedef struct AutoKey
{
	char	   *name;
	Oid			from;
	Oid			to;
	List	   *columns;		/* of char * */
	char		delete_action;
	bool		not_null;		/* of all its columns */
} AutoKey;

/* ------------------------------------------------------------------------
 * tables
 * ------------------------------------------------------------------------
 */

/* Tables that can be mapped, by name. */
static const char candidates_sql[] =
"SELECT c.oid FROM pg_catalog.pg_class c"
" WHERE c.relnamespace OPERATOR(pg_catalog.=) $1"
" AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}')"
" AND NOT c.relispartition"
" AND c.relpersistence OPERATOR(pg_catalog.<>) 't'"
" AND pg_catalog.pg_has_role(c.relowner, 'USAGE')"
" AND EXISTS (SELECT FROM pg_catalog.pg_constraint p"
"  WHERE p.conrelid OPERATOR(pg_catalog.=) c.oid"
"  AND p.contype OPERATOR(pg_catalog.=) 'p')"
" AND NOT EXISTS (SELECT FROM orm.model_def m"
"  WHERE m.relation OPERATOR(pg_catalog.=) c.oid)"
" AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
"  WHERE d.classid OPERATOR(pg_catalog.=)"
"   'pg_catalog.pg_class'::pg_catalog.regclass"
"  AND d.objid OPERATOR(pg_catalog.=) c.oid"
"  AND d.deptype OPERATOR(pg_catalog.=) 'e')"
" ORDER BY c.relname";

static List *
candidate_tables(Oid schema)
{
	MemoryContext mcxt = CurrentMemoryContext;
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(schema)};
	MemoryContext old;
	List	   *result = NIL;

	SPI_connect();
	if (SPI_execute_with_args(candidates_sql, 1, types, values, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the tables of a schema");
	old = MemoryContextSwitchTo(mcxt);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		oid = SPI_getbinval(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, 1, &isnull);

		result = lappend_oid(result, DatumGetObjectId(oid));
	}
	MemoryContextSwitchTo(old);
	SPI_finish();
	return result;
}

static char *
free_class_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (model_def_by_class(name) == NULL)
		return name;
	return psprintf("%s.%s", get_namespace_name(get_rel_namespace(relid)),
					name);
}

/* ------------------------------------------------------------------------
 * foreign keys
 * ------------------------------------------------------------------------
 */

static AutoKey *
read_key(HeapTuple tuple, TupleDesc tupdesc)
{
	Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);
	AutoKey    *key = palloc0(sizeof(AutoKey));
	ListCell   *lc;

	key->name = pstrdup(NameStr(con->conname));
	key->from = con->conrelid;
	key->to = con->confrelid;
	key->delete_action = con->confdeltype;
	key->columns = constraint_columns(con->conrelid, tuple, tupdesc,
									  Anum_pg_constraint_conkey);
	key->not_null = true;
	foreach(lc, key->columns)
	{
		HeapTuple	att = SearchSysCacheAttName(con->conrelid, lfirst(lc));

		if (!((Form_pg_attribute) GETSTRUCT(att))->attnotnull)
			key->not_null = false;
		ReleaseSysCache(att);
	}
	return key;
}

/* The table's own foreign keys (of partitions: not those of its parent). */
static List *
keys_of(Oid relid)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	ScanKeyInit(&skey, Anum_pg_constraint_conrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, ConstraintRelidTypidNameIndexId, true,
							  NULL, 1, &skey);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);

		if (con->contype == CONSTRAINT_FOREIGN &&
			!OidIsValid(con->conparentid))
			result = lappend(result, read_key(tuple, RelationGetDescr(rel)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* Is every column of the table in one of the two foreign keys? */
static bool
is_association(Oid relid, List *keys)
{
	Relation	rel;
	bool		result = true;

	if (list_length(keys) != 2)
		return false;
	rel = relation_open_existing(relid);
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (!att->attisdropped &&
			!names_contain(((AutoKey *) linitial(keys))->columns,
						   NameStr(att->attname)) &&
			!names_contain(((AutoKey *) lsecond(keys))->columns,
						   NameStr(att->attname)))
			result = false;
	}
	relation_close(rel, AccessShareLock);
	return result;
}

/* ------------------------------------------------------------------------
 * names of relationships
 * ------------------------------------------------------------------------
 */

static char *
lower_case(const char *name)
{
	return str_tolower(name, strlen(name), DEFAULT_COLLATION_OID);
}

static bool
is_name_free(ModelDef *model, const char *name)
{
	ListCell   *lc;

	if (strlen(name) >= NAMEDATALEN ||
		get_attnum(model->relid, name) != InvalidAttrNumber)
		return false;
	foreach(lc, relationship_defs_of_class(model->class_name))
		if (strcmp(((RelationshipDef *) lfirst(lc))->name, name) == 0)
			return false;
	foreach(lc, relationship_defs_to_class(model->class_name))
	{
		RelationshipDef *def = lfirst(lc);

		if (def->backref && strcmp(def->backref, name) == 0)
			return false;
	}
	return true;
}

/*
 * "hobby" or "person_collection"; if that is taken, by a column or by the
 * other direction (avoid) too, with the foreign key's columns.
 */
static char *
choose_name(ModelDef *model, ModelDef *other, AutoKey *key,
			const char *suffix, const char *avoid)
{
	char	   *base = lower_case(other->class_name);
	char	   *name = psprintf("%s%s", base, suffix);
	ListCell   *lc;

	if (is_name_free(model, name) && !(avoid && strcmp(avoid, name) == 0))
		return name;
	foreach(lc, key->columns)
		base = psprintf("%s_%s%s", base,
						lc == list_head(key->columns) ? "by_" : "",
						(char *) lfirst(lc));
	return psprintf("%s%s", base, suffix);
}

/* ------------------------------------------------------------------------
 * relationships
 * ------------------------------------------------------------------------
 */

/* Has the foreign key been made a relationship of already? */
static bool
is_related(AutoKey *key)
{
	ListCell   *lc;

	foreach(lc, relationship_defs())
	{
		RelationshipDef *def = lfirst(lc);
		ModelDef   *owner;

		if (!def->bound || def->constraint_name == NULL ||
			def->direction == RELATIONSHIP_MANY_TO_MANY ||
			strcmp(def->constraint_name, key->name) != 0)
			continue;
		owner = model_def_by_class(def->direction == RELATIONSHIP_MANY_TO_ONE ?
								   def->class_name : def->target);
		if (owner && owner->relid == key->from)
			return true;
	}
	return false;
}

/* The key's columns with their table, which both directions understand. */
static List *
qualified_columns(AutoKey *key)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, key->columns)
		result = lappend(result, psprintf("%s.%s", get_rel_name(key->from),
										  (char *) lfirst(lc)));
	return result;
}

/*
 * Declared from the parent's side, which has the options: children that
 * cannot be without a parent go with it.  A parent that is somebody else's
 * gets no collection.
 */
static void
relate_key(AutoKey *key)
{
	ModelDef   *child = model_def_by_relation(key->from);
	ModelDef   *parent = model_def_by_relation(key->to);
	RelationshipDef def = {0};

	if (child == NULL || parent == NULL || is_related(key) ||
		!compat_class_ownercheck(child->relid, GetUserId()))
		return;
	def.foreign_keys = qualified_columns(key);
	if (!compat_class_ownercheck(parent->relid, GetUserId()))
	{
		def.class_name = child->class_name;
		def.target = parent->class_name;
		def.name = choose_name(child, parent, key, "", NULL);
		relationship_insert(&def, true);
		return;
	}
	def.class_name = parent->class_name;
	def.target = child->class_name;
	def.name = choose_name(parent, child, key, "_collection", NULL);
	def.backref = choose_name(child, parent, key, "",
							  child == parent ? def.name : NULL);
	if (key->not_null)
		def.cascade = "all, delete-orphan";
	def.passive_deletes = key->not_null ?
		key->delete_action == FKCONSTR_ACTION_CASCADE :
		key->delete_action == FKCONSTR_ACTION_SETNULL;
	relationship_insert(&def, true);
}

static bool
is_secondary(Oid relid)
{
	ListCell   *lc;

	foreach(lc, relationship_defs())
		if (((RelationshipDef *) lfirst(lc))->secondary_relation == relid)
			return true;
	return false;
}

/* The table between the two becomes a many-to-many relationship. */
static void
relate_association(Oid relid)
{
	List	   *keys = keys_of(relid);
	AutoKey    *near = linitial(keys);
	AutoKey    *far = lsecond(keys);
	ModelDef   *owner = model_def_by_relation(near->to);
	ModelDef   *target = model_def_by_relation(far->to);
	RelationshipDef def = {0};

	if (owner == NULL || target == NULL || is_secondary(relid) ||
		!compat_class_ownercheck(owner->relid, GetUserId()) ||
		!compat_class_ownercheck(target->relid, GetUserId()))
		return;
	def.class_name = owner->class_name;
	def.target = target->class_name;
	def.secondary = relation_sql(relid);
	def.foreign_keys = near->columns;
	def.remote_side = far->columns;
	def.name = choose_name(owner, target, far, "_collection", NULL);
	def.backref = choose_name(target, owner, near, "_collection",
							  near->to == far->to ? def.name : NULL);
	relationship_insert(&def, true);
}

static void
relate_tables(List *tables, List *associations)
{
	ListCell   *lc;
	ListCell   *key;

	foreach(lc, tables)
		foreach(key, keys_of(lfirst_oid(lc)))
		relate_key(lfirst(key));
	foreach(lc, associations)
		relate_association(lfirst_oid(lc));
}

PG_FUNCTION_INFO_V1(orm_automap);
Datum
orm_automap(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *tables = NIL;
	List	   *associations = NIL;
	List	   *classes = NIL;
	Oid			schema;
	ListCell   *lc;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("no schema has been selected")));
	schema = get_namespace_oid(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
	foreach(lc, candidate_tables(schema))
	{
		Oid			relid = lfirst_oid(lc);

		if (is_association(relid, keys_of(relid)))
			associations = lappend_oid(associations, relid);
		else
		{
			char	   *class_name = free_class_name(relid);

			model_map(relid, class_name, NULL, NIL);
			tables = lappend_oid(tables, relid);
			classes = lappend(classes, class_name);
		}
	}
	relate_tables(tables, associations);
	relationships_bind_pending(false);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	foreach(lc, classes)
	{
		Datum		value = CStringGetTextDatum((char *) lfirst(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}

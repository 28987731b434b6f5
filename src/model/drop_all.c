/*-------------------------------------------------------------------------
 *
 * drop_all.c
 *	  orm.drop_all: dropping the declared tables of a schema.
 *
 * The declarations stay.  Everything goes by one DROP TABLE, run as the
 * calling user, which fails and leaves all as it was if anything else depends
 * on one of the tables.  Nothing is kept in memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "model/declaration.h"

/* Relations that foreign keys of this one refer to. */
static List *
referenced_relations(Oid relid)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, ConstraintRelidTypidNameIndexId, true,
							  NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);

		if (con->contype == CONSTRAINT_FOREIGN && con->confrelid != relid)
			result = list_append_unique_oid(result, con->confrelid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* The first that no other of the remaining ones refers to. */
static ModelDef *
next_to_drop(List *remaining)
{
	List	   *referenced = NIL;
	ListCell   *lc;

	foreach(lc, remaining)
	{
		List	   *relids =
			referenced_relations(((ModelDef *) lfirst(lc))->relid);

		referenced = list_concat_unique_oid(referenced, relids);
	}
	foreach(lc, remaining)
		if (!list_member_oid(referenced, ((ModelDef *) lfirst(lc))->relid))
			return lfirst(lc);
	return linitial(remaining);
}

static List *
drop_order(List *defs)
{
	List	   *remaining = list_copy(defs);
	List	   *result = NIL;

	while (remaining != NIL)
	{
		ModelDef   *def = next_to_drop(remaining);

		remaining = list_delete_ptr(remaining, def);
		result = lappend(result, def);
	}
	return result;
}

/*
 * Unties the class from its table, before that is dropped, so that the event
 * trigger does not take the declaration for forgotten.  The relationships'
 * row trigger drops the navigation functions.
 */
static void
model_unbind(ModelDef *def)
{
	CatalogParam params[3];
	Oid			schema = get_rel_namespace(def->relid);

	params[0] = catalog_text(def->class_name);
	params[1] = catalog_oid(OIDOID, def->relid);
	catalog_execute("UPDATE orm.relationship_def SET direction = NULL,"
					" constraint_name = NULL, local_columns = NULL,"
					" remote_columns = NULL, secondary_relation = NULL,"
					" secondary_local = NULL, secondary_remote = NULL,"
					" secondary_constraint = NULL"
					" WHERE direction IS NOT NULL"
					" AND (class OPERATOR(pg_catalog.=) $1"
					" OR target OPERATOR(pg_catalog.=) $1"
					" OR secondary_relation OPERATOR(pg_catalog.=) $2)",
					2, params);
	params[1] = catalog_name(relation_owner(def->relid));
	params[2] = catalog_name(get_namespace_name(schema));
	catalog_execute("UPDATE orm.model_def SET relation = NULL,"
					" primary_key = NULL, owner = $2, schema_name = $3,"
					" version_column ="
					" (declaration OPERATOR(pg_catalog.->>)"
					" 'version_column')::pg_catalog.name"
					" WHERE class OPERATOR(pg_catalog.=) $1", 3, params);
}

static List *
tables_to_drop(List *defs, bool checkfirst)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, defs)
	{
		ModelDef   *def = lfirst(lc);

		if (OidIsValid(def->relid))
			result = lappend(result, def);
		else if (!checkfirst)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table \"%s\" of class \"%s\" does not exist",
							def->table_name, def->class_name)));
	}
	return drop_order(result);
}

/* One statement, so that foreign keys among the tables do not matter. */
static List *
drop_tables(List *defs)
{
	List	   *names = NIL;
	StringInfoData sql;
	ListCell   *lc;

	/* all of them before the first is untied */
	foreach(lc, defs)
	{
		ModelDef   *def = lfirst(lc);

		model_require_not_pending(def->class_name, def->relid, true);
	}
	initStringInfo(&sql);
	appendStringInfoString(&sql, "/* pg_orm drop_all */ DROP TABLE ");
	foreach(lc, defs)
	{
		ModelDef   *def = lfirst(lc);
		char	   *name = relation_sql(def->relid);

		appendStringInfo(&sql, "%s%s", names == NIL ? "" : ", ", name);
		names = lappend(names, name);
		model_unbind(def);
	}
	if (names != NIL)
		run_statement(sql.data);
	return names;
}

PG_FUNCTION_INFO_V1(orm_drop_all);
Datum
orm_drop_all(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *schema_name = schema_argument(fcinfo);
	bool		checkfirst = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	List	   *names = drop_tables(tables_to_drop(declared_defs(schema_name),
												   checkfirst));
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	foreach(lc, names)
	{
		Datum		value = CStringGetTextDatum((char *) lfirst(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}

/*-------------------------------------------------------------------------
 *
 * events.c
 *	  The catalog follows the tables: event triggers for dropped, renamed and
 *	  moved objects, and orm.repair for what they could not see.
 *
 * An event trigger that fails makes DDL impossible, so these do nothing in a
 * binary upgrade, while the extension itself is made or changed, and where
 * nothing is mapped; rows whose table is gone are tolerated everywhere.
 * Changing a row of orm.relationship_def is what makes its navigation
 * functions anew: its row trigger belongs to the navigation module.
 *
 * Nothing is kept in memory, nothing is locked beyond what the statements on
 * the config tables lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "model/internal.h"

/* A dropped or altered object. */
typedef struct EventObject
{
	Oid			classid;
	Oid			objid;
	char	   *name;			/* of a schema, an extension or a column */
	bool		is_column;
} EventObject;

static bool
is_noop(void)
{
	if (IsBinaryUpgrade || !OidIsValid(catalog_model_def()))
		return true;
	return creating_extension &&
		CurrentExtensionObject == get_extension_oid("pg_orm", true);
}

static void
check_event(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s must be called as an event trigger", name)));
}

/* Objects of a query that gives classid, objid, name and is_column. */
static List *
read_objects(const char *sql)
{
	MemoryContext mcxt = CurrentMemoryContext;
	MemoryContext old;
	List	   *result = NIL;

	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the objects of an event");
	old = MemoryContextSwitchTo(mcxt);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		EventObject *object = palloc0(sizeof(EventObject));
		bool		isnull;

		object->classid = DatumGetObjectId(SPI_getbinval(tuple, tupdesc, 1,
														 &isnull));
		object->objid = DatumGetObjectId(SPI_getbinval(tuple, tupdesc, 2,
													   &isnull));
		object->name = SPI_getvalue(tuple, tupdesc, 3);
		object->is_column = DatumGetBool(SPI_getbinval(tuple, tupdesc, 4,
													   &isnull));
		result = lappend(result, object);
	}
	MemoryContextSwitchTo(old);
	SPI_finish();
	return result;
}

/* ------------------------------------------------------------------------
 * dropped objects
 * ------------------------------------------------------------------------
 */

static bool
same(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static void
forget_class(ModelDef *def)
{
	CatalogParam params[] = {catalog_text(def->class_name)};

	model_require_not_pending(def->class_name, def->relid, false);
	catalog_execute("DELETE FROM orm.relationship_def"
					" WHERE class OPERATOR(pg_catalog.=) $1"
					" OR target OPERATOR(pg_catalog.=) $1", 1, params);
	catalog_execute("DELETE FROM orm.model_def"
					" WHERE class OPERATOR(pg_catalog.=) $1", 1, params);
}

static void
forget_relationship(RelationshipDef *def)
{
	CatalogParam params[] = {
		catalog_text(def->class_name),
		catalog_text(def->name)
	};

	model_require_not_pending(def->class_name, def->secondary_relation, false);
	catalog_execute("DELETE FROM orm.relationship_def"
					" WHERE class OPERATOR(pg_catalog.=) $1"
					" AND name OPERATOR(pg_catalog.=) $2", 2, params);
}

/* Does the class go with the object? */
static bool
class_goes_with(ModelDef *def, EventObject *object)
{
	if (object->is_column)
		return false;
	switch (object->classid)
	{
		case RelationRelationId:
			return def->relid == object->objid;
		case NamespaceRelationId:
			return !OidIsValid(def->relid) &&
				same(def->schema_name, object->name);
		case ExtensionRelationId:
			return same(def->extension, object->name);
		default:
			return false;
	}
}

static Oid
relid_of_class(const char *class_name)
{
	ModelDef   *def = model_def_by_class(class_name);

	return def ? def->relid : InvalidOid;
}

static bool
uses_column(RelationshipDef *def, Oid relid, const char *column)
{
	if (def->secondary_relation == relid &&
		(names_contain(def->secondary_local, column) ||
		 names_contain(def->secondary_remote, column)))
		return true;
	return (names_contain(def->local_columns, column) &&
			relid_of_class(def->class_name) == relid) ||
		(names_contain(def->remote_columns, column) &&
		 relid_of_class(def->target) == relid);
}

static bool
relationship_goes_with(RelationshipDef *def, EventObject *object)
{
	if (object->classid == ExtensionRelationId)
		return same(def->extension, object->name);
	if (object->classid != RelationRelationId)
		return false;
	if (object->is_column)
		return uses_column(def, object->objid, object->name);
	return def->secondary_relation == object->objid;
}

static void
forget_version_column(EventObject *object)
{
	CatalogParam params[] = {
		catalog_oid(OIDOID, object->objid),
		catalog_name(object->name)
	};

	catalog_execute("UPDATE orm.model_def SET version_column = NULL"
					" WHERE relation OPERATOR(pg_catalog.=) $1"
					" AND version_column OPERATOR(pg_catalog.=) $2",
					2, params);
}

static void
forget(List *objects)
{
	ListCell   *lc;
	ListCell   *obj;

	foreach(lc, model_defs())
	{
		ModelDef   *def = lfirst(lc);

		foreach(obj, objects)
		{
			EventObject *object = lfirst(obj);

			if (class_goes_with(def, object))
			{
				forget_class(def);
				break;
			}
			if (object->is_column && def->relid == object->objid &&
				same(def->version_column, object->name))
				forget_version_column(object);
		}
	}
	foreach(lc, relationship_defs())
		foreach(obj, objects)
		if (relationship_goes_with(lfirst(lc), lfirst(obj)))
		{
			forget_relationship(lfirst(lc));
			break;
		}
}

PG_FUNCTION_INFO_V1(orm_objects_dropped);
Datum
orm_objects_dropped(PG_FUNCTION_ARGS)
{
	List	   *objects;

	check_event(fcinfo, "orm.objects_dropped");
	if (is_noop() || model_defs() == NIL)
		PG_RETURN_NULL();
	objects = read_objects("SELECT classid, objid,"
						   " coalesce(object_name, address_names[3]),"
						   " objsubid OPERATOR(pg_catalog.<>) 0"
						   " FROM pg_catalog.pg_event_trigger_dropped_objects()"
						   " WHERE classid OPERATOR(pg_catalog.=) ANY (ARRAY["
						   "'pg_catalog.pg_class'::pg_catalog.regclass,"
						   "'pg_catalog.pg_namespace'::pg_catalog.regclass,"
						   "'pg_catalog.pg_extension'::pg_catalog.regclass])");
	forget(objects);
	PG_RETURN_NULL();
}

/* ------------------------------------------------------------------------
 * altered objects
 * ------------------------------------------------------------------------
 */

/*
 * The rows about a relation, as an SQL condition on orm.relationship_def r
 * with the relation as $1.
 */
#define IS_CLASS(column) \
	"EXISTS (SELECT FROM orm.model_def m" \
	" WHERE m.relation OPERATOR(pg_catalog.=) $1" \
	" AND m.class OPERATOR(pg_catalog.=) r." column ")"

#define IS_SECONDARY "r.secondary_relation OPERATOR(pg_catalog.=) $1"

#define RENAMED(column, condition) \
	column " = CASE WHEN " condition \
	" THEN pg_catalog.array_replace(r." column ", $2, $3)" \
	" ELSE r." column " END"

/* The changed rows' trigger makes the navigation functions anew. */
static void
rename_column(Oid relid, const char *old, const char *new)
{
	CatalogParam params[] = {
		catalog_oid(OIDOID, relid),
		catalog_name(old),
		catalog_name(new)
	};

	catalog_execute("UPDATE orm.model_def SET"
					" primary_key = pg_catalog.array_replace(primary_key,"
					" $2, $3), version_column = CASE WHEN version_column"
					" OPERATOR(pg_catalog.=) $2 THEN $3"
					" ELSE version_column END"
					" WHERE relation OPERATOR(pg_catalog.=) $1", 3, params);
	catalog_execute("UPDATE orm.relationship_def r SET "
					RENAMED("local_columns", IS_CLASS("class")) ", "
					RENAMED("remote_columns", IS_CLASS("target")) ", "
					RENAMED("secondary_local", IS_SECONDARY) ", "
					RENAMED("secondary_remote", IS_SECONDARY)
					" WHERE r.direction IS NOT NULL AND ("
					IS_CLASS("class") " OR " IS_CLASS("target")
					" OR coalesce(" IS_SECONDARY ", false))", 3, params);
}

static void
rename_constraint(Oid relid, const char *old, const char *new)
{
	CatalogParam params[] = {
		catalog_oid(OIDOID, relid),
		catalog_name(old),
		catalog_name(new)
	};

	catalog_execute("UPDATE orm.relationship_def r SET"
					" constraint_name = CASE WHEN constraint_name"
					" OPERATOR(pg_catalog.=) $2 THEN $3"
					" ELSE constraint_name END,"
					" secondary_constraint = CASE WHEN secondary_constraint"
					" OPERATOR(pg_catalog.=) $2 THEN $3"
					" ELSE secondary_constraint END"
					" WHERE r.direction IS NOT NULL"
					" AND $2 OPERATOR(pg_catalog.=)"
					" ANY (ARRAY[constraint_name, secondary_constraint])"
					" AND ("
					IS_CLASS("class") " OR " IS_CLASS("target")
					" OR coalesce(" IS_SECONDARY ", false))", 3, params);
}

/* Makes the row trigger look at the relationships of a relation again. */
static void
touch_relation(Oid relid)
{
	CatalogParam params[] = {catalog_oid(OIDOID, relid)};

	catalog_execute("UPDATE orm.relationship_def r SET name = name"
					" WHERE r.direction IS NOT NULL AND ("
					IS_CLASS("class") " OR " IS_CLASS("target")
					" OR coalesce(" IS_SECONDARY ", false))", 1, params);
}

static void
touch_all(void)
{
	catalog_execute("UPDATE orm.relationship_def SET name = name"
					" WHERE direction IS NOT NULL", 0, NULL);
}

/* Records the columns of the present primary key, if there is one. */
static void
record_primary_key(Oid relid)
{
	CatalogParam params[2];

	params[0] = catalog_oid(OIDOID, relid);
	params[1] = catalog_names(primary_key_columns(relid));
	if (!params[1].isnull)
		catalog_execute("UPDATE orm.model_def SET primary_key = $2"
						" WHERE relation OPERATOR(pg_catalog.=) $1"
						" AND (primary_key OPERATOR(pg_catalog.=) $2)"
						" IS NOT TRUE", 2, params);
}

/* Is anything of the catalog about the relation? */
static bool
is_known(Oid relid)
{
	ListCell   *lc;

	if (model_def_by_relation(relid) != NULL)
		return true;
	foreach(lc, relationship_defs())
		if (((RelationshipDef *) lfirst(lc))->secondary_relation == relid)
			return true;
	return false;
}

static Oid
relation_of_constraint(Oid constraint)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID,
										ObjectIdGetDatum(constraint));
	Oid			relid = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		relid = ((Form_pg_constraint) GETSTRUCT(tuple))->conrelid;
		ReleaseSysCache(tuple);
	}
	return relid;
}

static void
follow_schema(RenameStmt *stmt)
{
	CatalogParam params[] = {
		catalog_name(stmt->subname),
		catalog_name(stmt->newname)
	};

	catalog_execute("UPDATE orm.model_def SET schema_name = $2"
					" WHERE schema_name OPERATOR(pg_catalog.=) $1",
					2, params);
	touch_all();
}

/* A column's new name goes down to the children, as the command does. */
static void
follow_column(RenameStmt *stmt, Oid relid)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
		if (is_known(lfirst_oid(lc)))
			rename_column(lfirst_oid(lc), stmt->subname, stmt->newname);
}

static void
follow_rename(RenameStmt *stmt, EventObject *object)
{
	Oid			relid = object->objid;

	if (object->classid == NamespaceRelationId)
		follow_schema(stmt);
	else if (object->classid == ConstraintRelationId)
	{
		relid = relation_of_constraint(object->objid);
		if (OidIsValid(relid))
			rename_constraint(relid, stmt->subname, stmt->newname);
	}
	else if (object->classid != RelationRelationId)
		return;
	else if (stmt->renameType == OBJECT_COLUMN)
		follow_column(stmt, relid);
	else if (is_known(relid))
		touch_relation(relid);
}

/* A new type may have another equality, a new owner owns the functions. */
static bool
changes_functions(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);

		if (cmd->subtype == AT_AlterColumnType ||
			cmd->subtype == AT_ChangeOwner)
			return true;
	}
	return false;
}

static void
follow(Node *parsetree, EventObject *object)
{
	if (IsA(parsetree, RenameStmt))
	{
		follow_rename((RenameStmt *) parsetree, object);
		return;
	}
	if (object->classid != RelationRelationId || !is_known(object->objid))
		return;
	if (IsA(parsetree, AlterObjectSchemaStmt))
		touch_relation(object->objid);
	else if (IsA(parsetree, AlterTableStmt))
	{
		record_primary_key(object->objid);
		if (changes_functions((AlterTableStmt *) parsetree))
			touch_relation(object->objid);
	}
}

PG_FUNCTION_INFO_V1(orm_objects_altered);
Datum
orm_objects_altered(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;
	ListCell   *lc;

	check_event(fcinfo, "orm.objects_altered");
	if (is_noop() || model_defs() == NIL)
		PG_RETURN_NULL();
	foreach(lc, read_objects("SELECT DISTINCT classid, objid,"
							 " NULL::pg_catalog.text, false"
							 " FROM pg_catalog.pg_event_trigger_ddl_commands()"
							 " WHERE objid IS NOT NULL"))
		follow(data->parsetree, lfirst(lc));
	PG_RETURN_NULL();
}

/* ------------------------------------------------------------------------
 * orm.repair
 * ------------------------------------------------------------------------
 */

static void
check_database_owner(void)
{
	if (!compat_database_ownercheck(MyDatabaseId, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_DATABASE,
					   get_database_name(MyDatabaseId));
}

static void
repair_model(ModelDef *def)
{
	if (!OidIsValid(def->relid))
		return;
	if (get_rel_name(def->relid) == NULL)
		forget_class(def);
	else
		record_primary_key(def->relid);
}

PG_FUNCTION_INFO_V1(orm_repair);
Datum
orm_repair(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	check_database_owner();
	foreach(lc, model_defs())
		repair_model(lfirst(lc));
	foreach(lc, relationship_defs())
		relationship_repair(lfirst(lc));
	relationships_bind_pending(true);
	touch_all();
	PG_RETURN_VOID();
}

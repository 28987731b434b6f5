/*-------------------------------------------------------------------------
 *
 * map.c
 *	  orm.map, orm.relate and orm.unmap: existing tables become models.
 *
 * Keeps nothing in memory.  The relation is locked in AccessShareLock until
 * the end of the transaction, so that it cannot go between the checks and
 * the row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "model/declaration.h"

/* ------------------------------------------------------------------------
 * checks
 * ------------------------------------------------------------------------
 */

void
check_class_free(const char *class_name)
{
	if (class_name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a class must have a name")));
	if (model_def_by_class(class_name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("class \"%s\" exists already", class_name),
				 errhint("Give another name, or use orm.unmap first.")));
}

void
check_not_mapped(Relation rel)
{
	ModelDef   *def = model_def_by_relation(RelationGetRelid(rel));

	if (def)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("relation \"%s\" is mapped already",
						RelationGetRelationName(rel)),
				 errdetail("Its class is \"%s\".", def->class_name)));
}

/*
 * Tables that come and go with a backend are not for a catalog that all
 * backends share.
 */
static void
check_mappable(Relation rel)
{
	const char *detail = NULL;

	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_FOREIGN_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
			break;
		default:
			detail = "It is no table, view or foreign table.";
	}
	if (RelationUsesLocalBuffers(rel) ||
		rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		detail = "It is temporary.";
	if (IsCatalogRelation(rel) || IsToastRelation(rel) ||
		catalog_is_config(RelationGetRelid(rel)))
		detail = "It is a system catalog.";
	if (detail)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation \"%s\" cannot be mapped",
						RelationGetRelationName(rel)),
				 errdetail("%s", detail)));
}

static void
check_column(Relation rel, const char *name)
{
	List	   *names = NIL;
	const char *nearest;

	if (get_attnum(RelationGetRelid(rel), name) > 0)
		return;
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (!att->attisdropped)
			names = lappend(names, NameStr(att->attname));
	}
	nearest = nearest_name(name, names);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of relation \"%s\" does not exist", name,
					RelationGetRelationName(rel)),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

/* The UPDATEs of a flush count it. */
void
check_version_type(const char *name, Oid type)
{
	if (!is_integer_type(type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("version column \"%s\" must be an integer, not of type %s",
						name, format_type_be(type))));
}

void
check_version_column(Relation rel, const char *name)
{
	check_column(rel, name);
	check_version_type(name,
					   get_atttype(RelationGetRelid(rel),
								   get_attnum(RelationGetRelid(rel), name)));
}

/*
 * The key's columns: of the constraint, or as given for a relation that
 * cannot have one.
 */
static List *
choose_primary_key(Relation rel, List *given)
{
	List	   *columns = primary_key_columns(RelationGetRelid(rel));
	bool		can_have = rel->rd_rel->relkind == RELKIND_RELATION ||
		rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	ListCell   *lc;

	if (can_have && given)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the primary key of a table is that of its constraint"),
				 errhint("primary_key is for views and foreign tables.")));
	if (columns == NIL && given == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("relation \"%s\" has no primary key",
						RelationGetRelationName(rel)),
				 errdetail("The objects of a class are identified by their primary key."),
				 can_have ?
				 errhint("Add one by ALTER TABLE ... ADD PRIMARY KEY.") :
				 errhint("Name the key's columns in primary_key.")));
	foreach(lc, given)
		check_column(rel, lfirst(lc));
	return columns ? columns : given;
}

/* ------------------------------------------------------------------------
 * orm.map
 * ------------------------------------------------------------------------
 */

static void
insert_model(Relation rel, const char *class_name,
			 const char *version_column, List *primary_key)
{
	CatalogParam params[] = {
		catalog_text(class_name),
		catalog_oid(REGCLASSOID, RelationGetRelid(rel)),
		catalog_name(get_namespace_name(RelationGetNamespace(rel))),
		catalog_name(RelationGetRelationName(rel)),
		catalog_name(GetUserNameFromId(rel->rd_rel->relowner, false)),
		catalog_name(version_column),
		catalog_names(primary_key),
		catalog_name(catalog_current_extension()),
	};

	catalog_execute("INSERT INTO orm.model_def"
					" (class, relation, schema_name, table_name, owner,"
					" version_column, primary_key, extension)"
					" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
					lengthof(params), params);
}

/*
 * Flushes compare the version that a change is based on with what is stored:
 * say so where there is nothing to compare.
 */
static void
notice_unversioned(Relation rel)
{
	char		relkind = rel->rd_rel->relkind;

	if ((relkind == RELKIND_FOREIGN_TABLE || relkind == RELKIND_VIEW) &&
		relation_is_updatable(RelationGetRelid(rel), NIL, true, NULL) &
		(1 << CMD_UPDATE))
		ereport(NOTICE,
				(errmsg("lost updates of \"%s\" will not be noticed",
						RelationGetRelationName(rel)),
				 errdetail("A %s has no xmin that tells versions of a row apart.",
						   relkind == RELKIND_VIEW ? "view" : "foreign table"),
				 errhint("Map it with a version_column.")));
}

void
model_map(Oid relid, const char *class_name, const char *version_column,
		  List *primary_key)
{
	Relation	rel = relation_open_existing(relid);

	catalog_check_owner(relid);
	check_mappable(rel);
	check_not_mapped(rel);
	if (class_name == NULL)
		class_name = RelationGetRelationName(rel);
	check_class_free(class_name);
	primary_key = choose_primary_key(rel, primary_key);
	if (version_column)
		check_version_column(rel, version_column);
	else
		notice_unversioned(rel);
	insert_model(rel, class_name, version_column, primary_key);
	relation_close(rel, NoLock);
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
text_argument(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

static List *
strings_argument(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NIL :
		strings_of_array(PG_GETARG_DATUM(argno));
}

PG_FUNCTION_INFO_V1(orm_map);
Datum
orm_map(PG_FUNCTION_ARGS)
{
	require_argument(fcinfo, 0, "relation");
	model_map(PG_GETARG_OID(0), text_argument(fcinfo, 1),
			  PG_ARGISNULL(2) ? NULL : NameStr(*PG_GETARG_NAME(2)),
			  strings_argument(fcinfo, 3));
	relationships_bind_pending(false);
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------------
 * orm.relate
 * ------------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(orm_relate);
Datum
orm_relate(PG_FUNCTION_ARGS)
{
	RelationshipDef def = {0};
	Model	   *owner;

	require_argument(fcinfo, 0, "class");
	require_argument(fcinfo, 1, "name");
	require_argument(fcinfo, 2, "target");
	owner = model_by_class(text_argument(fcinfo, 0), false);
	catalog_check_owner(owner->relid);
	def.class_name = pstrdup(owner->class_name);
	def.name = text_argument(fcinfo, 1);
	def.target = text_argument(fcinfo, 2);
	def.backref = text_argument(fcinfo, 3);
	def.secondary = text_argument(fcinfo, 4);
	def.foreign_keys = strings_argument(fcinfo, 5);
	def.remote_side = strings_argument(fcinfo, 6);
	def.order_by = text_argument(fcinfo, 7);
	if (def.order_by)
		fragment_sort_list(def.order_by);
	def.cascade = text_argument(fcinfo, 8);
	def.passive_deletes = !PG_ARGISNULL(9) && PG_GETARG_BOOL(9);
	def.viewonly = !PG_ARGISNULL(10) && PG_GETARG_BOOL(10);
	def.uselist_given = !PG_ARGISNULL(11);
	def.uselist = def.uselist_given && PG_GETARG_BOOL(11);

	relationship_insert(&def, true);
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------------
 * orm.unmap
 * ------------------------------------------------------------------------
 */

/* Whoever may make a declared table again may also forget it. */
static void
check_declared_owner(ModelDef *def)
{
	Oid			role = get_role_oid(def->owner, true);

	if (!superuser() &&
		(!OidIsValid(role) || !has_privs_of_role(GetUserId(), role)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of class \"%s\"", def->class_name)));
}

/* A class, or the table of one, even if that does not exist (any more). */
static ModelDef *
find_def(const char *name)
{
	ModelDef   *def = model_def_by_class(name);

	return def ? def :
		model_def_by_relation(model_by_class(name, false)->relid);
}

PG_FUNCTION_INFO_V1(orm_unmap);
Datum
orm_unmap(PG_FUNCTION_ARGS)
{
	CatalogParam params[1];
	ModelDef   *def;

	require_argument(fcinfo, 0, "class");
	def = find_def(text_argument(fcinfo, 0));
	if (OidIsValid(def->relid) && get_rel_name(def->relid) != NULL)
		catalog_check_owner(def->relid);
	else
		check_declared_owner(def);
	catalog_check_extension(def->class_name, def->extension);
	model_require_not_pending(def->class_name, def->relid, true);

	params[0] = catalog_text(def->class_name);
	catalog_execute("DELETE FROM orm.relationship_def"
					" WHERE class OPERATOR(pg_catalog.=) $1"
					" OR target OPERATOR(pg_catalog.=) $1", 1, params);
	catalog_execute("DELETE FROM orm.model_def"
					" WHERE class OPERATOR(pg_catalog.=) $1", 1, params);
	PG_RETURN_VOID();
}

/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  Making, changing and dropping the navigation functions.
 *
 * The functions are made by SQL commands, so that event triggers and other
 * extensions see them, as the owner of the table they belong to, in a
 * security-restricted operation with a search_path of pg_catalog only.
 *
 * A navigation function is known by what it is and not by a list of our own,
 * so that a dump brings everything back: it is written in SQL, begins as
 * ours do, and depends on the extension (DEPENDS ON EXTENSION is dumped).
 * Its AUTO dependencies on the tables are not dumped: the row trigger of
 * orm.relationship_def and orm.repair add them again.
 *
 * Memory is the caller's context; nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "execute_as.h"
#include "navigation/internal.h"
#include "pg_orm.h"

/* What the planner is told of a collection that it does not inline. */
#define COLLECTION_ROWS 10

/* What begins the bodies that body.c writes. */
#define TO_ONE_BODY "SELECT orm.to_one"
#define QUERY_BODY "SELECT c.* FROM "

/* A navigation function as it is in pg_proc. */
typedef struct ExistingFunction
{
	Oid			oid;			/* InvalidOid if there is none */
	Oid			schema;
	Oid			role;
	Oid			result;
	bool		returns_set;
	char		parallel;
	bool		altered;		/* has properties that we never give one */
	char	   *body;
} ExistingFunction;

/*
 * A script of pg_dump turns check_function_bodies off, for the same reason
 * for which we ask: what functions refer to may not be there yet.
 */
bool
navigation_restoring(void)
{
	return !check_function_bodies;
}

/* ------------------------------------------------------------------------
 * what is there
 * ------------------------------------------------------------------------
 */
static bool
depends_on_us(Oid function)
{
	Oid			extension = get_extension_oid("pg_orm", true);

	return OidIsValid(extension) &&
		list_member_oid(getAutoExtensionsOfObject(ProcedureRelationId,
												  function), extension);
}

static char *
function_body(HeapTuple tuple)
{
	bool		isnull;
	Datum		body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc,
									   &isnull);

	return isnull ? pstrdup("") : TextDatumGetCString(body);
}

/* Is this function one that we made? */
static bool
is_navigation_function(HeapTuple tuple)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	char	   *body;

	if (form->prolang != SQLlanguageId || form->pronargs != 1)
		return false;
	body = function_body(tuple);
	return (strncmp(body, TO_ONE_BODY, strlen(TO_ONE_BODY)) == 0 ||
			strncmp(body, QUERY_BODY, strlen(QUERY_BODY)) == 0) &&
		depends_on_us(form->oid);
}

static void
read_existing(HeapTuple tuple, ExistingFunction *existing)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

	existing->oid = form->oid;
	existing->schema = form->pronamespace;
	existing->role = form->proowner;
	existing->result = form->prorettype;
	existing->returns_set = form->proretset;
	existing->parallel = form->proparallel;
	existing->altered = form->prosecdef || form->proisstrict ||
		form->provolatile != PROVOLATILE_STABLE ||
		!heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL);
	existing->body = function_body(tuple);
}

/*
 * Looks for the function name(rowtype) that is ours, in whatever schema the
 * table was when it was made.  in_the_way tells of one that is not ours.
 */
static ExistingFunction
find_existing(NavigationFunction *function, bool *in_the_way)
{
	ExistingFunction existing = {InvalidOid};
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP,
										   CStringGetDatum(function->name));

	*in_the_way = false;
	for (int i = 0; i < list->n_members; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		if (form->pronargs != 1 ||
			form->proargtypes.values[0] != function->owner_rowtype)
			continue;
		if (!OidIsValid(existing.oid) && is_navigation_function(tuple))
			read_existing(tuple, &existing);
		else if (form->pronamespace == function->schema)
			*in_the_way = true;
	}
	ReleaseCatCacheList(list);
	return existing;
}

/* ------------------------------------------------------------------------
 * SQL commands
 * ------------------------------------------------------------------------
 */

/* Executes a command as role, which may be anybody. */
static void
execute_restricted(Oid role, const char *command)
{
	(void) execute_as(role, SECURITY_RESTRICTED_OPERATION, command, 0, NULL,
					  NULL, NULL);
}

static char *
qualified_type(Oid typid)
{
	return format_type_extended(typid, -1, FORMAT_TYPE_FORCE_QUALIFY);
}

/* "app.hobby(app.person)" */
static char *
qualified_signature(NavigationFunction *function, Oid schema)
{
	return psprintf("%s(%s)",
					quote_qualified_identifier(get_namespace_name(schema),
											   function->name),
					qualified_type(function->owner_rowtype));
}

static char *
create_command(NavigationFunction *function, bool replace)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "/* pg_orm navigation */ "
					 "CREATE %sFUNCTION %s RETURNS %s%s LANGUAGE sql STABLE",
					 replace ? "OR REPLACE " : "",
					 qualified_signature(function, function->schema),
					 function->returns_set ? "SETOF " : "",
					 qualified_type(function->target_rowtype));
	if (function->returns_set)
		appendStringInfo(&buf, " ROWS %d", COLLECTION_ROWS);
	appendStringInfo(&buf, " PARALLEL %s AS %s",
					 function->parallel_safe ? "SAFE" : "RESTRICTED",
					 quote_literal_cstr(function->body));
	return buf.data;
}

/* ------------------------------------------------------------------------
 * dependencies
 * ------------------------------------------------------------------------
 */
static bool
has_auto_dependency(Oid function, Oid relid)
{
	Relation	catalog = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(function));
	scan = systable_beginscan(catalog, DependDependerIndexId, true, NULL, 2,
							  keys);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		found = form->refclassid == RelationRelationId &&
			form->refobjid == relid && form->deptype == DEPENDENCY_AUTO;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * The function goes with its tables without CASCADE, and with the extension.
 * Returns whether something was missing.
 */
static bool
add_dependencies(NavigationFunction *function, Oid oid)
{
	ObjectAddress self;
	ObjectAddress referenced;
	bool		changed = false;

	ObjectAddressSet(self, ProcedureRelationId, oid);
	for (int i = 0; i < function->nrelations; i++)
	{
		if (has_auto_dependency(oid, function->relations[i]))
			continue;
		ObjectAddressSet(referenced, RelationRelationId,
						 function->relations[i]);
		recordDependencyOn(&self, &referenced, DEPENDENCY_AUTO);
		changed = true;
	}
	if (!depends_on_us(oid))
	{
		ObjectAddressSet(referenced, ExtensionRelationId,
						 get_extension_oid("pg_orm", false));
		recordDependencyOn(&self, &referenced, DEPENDENCY_AUTO_EXTENSION);
		changed = true;
	}
	if (changed)
		CommandCounterIncrement();
	return changed;
}

/* ------------------------------------------------------------------------
 * making it so
 * ------------------------------------------------------------------------
 */
static bool
is_shadowed(NavigationFunction *function)
{
	return get_attnum(function->owner_relid,
					  function->name) != InvalidAttrNumber;
}

static void
check_name_free(NavigationFunction *function, bool in_the_way)
{
	if (is_shadowed(function))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("relationship \"%s\" of class \"%s\" has the name of a column",
						function->name, function->class_name),
				 errdetail("Table \"%s\" has a column of that name.",
						   get_rel_name(function->owner_relid))));
	if (in_the_way)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_FUNCTION),
				 errmsg("relationship \"%s\" of class \"%s\" has the name of a function",
						function->name, function->class_name),
				 errdetail("Function %s exists already.",
						   qualified_signature(function, function->schema))));
}

static void
check_comparable(NavigationFunction *function)
{
	if (!function->comparable)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("relationship \"%s\" of class \"%s\" compares columns that have no equality operator",
						function->name, function->class_name)));
}

static void
create_function(NavigationFunction *function)
{
	oidvector  *arguments = buildoidvector(&function->owner_rowtype, 1);
	Oid			oid;

	execute_restricted(function->role, create_command(function, false));
	oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
						  CStringGetDatum(function->name),
						  PointerGetDatum(arguments),
						  ObjectIdGetDatum(function->schema));
	if (!OidIsValid(oid))
		elog(ERROR, "function %s was not made",
			 qualified_signature(function, function->schema));
	add_dependencies(function, oid);
}

/*
 * Who replaces a function: its owner, if he may, and otherwise whoever is
 * here (a superuser, while a dump's privileges are not restored yet).
 */
static Oid
replacing_role(NavigationFunction *function)
{
	return compat_namespace_aclcheck(function->schema, function->role,
									 ACL_CREATE) == ACLCHECK_OK ?
		function->role : GetUserId();
}

/* The table has moved or has another owner. */
static bool
move_function(NavigationFunction *function, ExistingFunction *existing)
{
	bool		moved = existing->schema != function->schema;
	bool		given = existing->role != function->role;
	const char *schema = get_namespace_name(function->schema);
	const char *role = GetUserNameFromId(function->role, false);
	const char *from = qualified_signature(function, existing->schema);
	const char *to = qualified_signature(function, function->schema);

	if (moved)
		execute_restricted(GetUserId(),
						   psprintf("/* pg_orm navigation */ "
									"ALTER FUNCTION %s SET SCHEMA %s",
									from, quote_identifier(schema)));
	if (given)
		execute_restricted(GetUserId(),
						   psprintf("/* pg_orm navigation */ "
									"ALTER FUNCTION %s OWNER TO %s",
									to, quote_identifier(role)));
	return moved || given;
}

/* Somebody else may have made it, to be given to the table's owner. */
static bool
is_as_described(NavigationFunction *function, ExistingFunction *existing)
{
	char		parallel = function->parallel_safe ? PROPARALLEL_SAFE :
	PROPARALLEL_RESTRICTED;

	return !existing->altered &&
		strcmp(existing->body, function->body) == 0 &&
		existing->parallel == parallel;
}

static void
drop_function(Oid oid, Oid role)
{
	execute_restricted(role,
					   psprintf("/* pg_orm navigation */ DROP FUNCTION %s",
								format_procedure_qualified(oid)));
}

/*
 * CREATE OR REPLACE keeps what depends on the function, but not its own
 * dependencies, and not another result type.
 */
static bool
change_members_function(NavigationFunction *function,
						ExistingFunction *existing)
{
	bool		changed;

	if (existing->result != function->target_rowtype ||
		existing->returns_set != function->returns_set)
	{
		drop_function(existing->oid, existing->role);
		create_function(function);
		return true;
	}
	changed = move_function(function, existing);
	if (!is_as_described(function, existing))
	{
		execute_restricted(replacing_role(function),
						   create_command(function, true));
		changed = true;
	}
	return add_dependencies(function, existing->oid) || changed;
}

/*
 * The script of an extension may alter a table that is not its own; then the
 * function is not its own either, which the commands would refuse to change.
 * (An error leaves the flag off, as it does without us.)
 */
static bool
change_function(NavigationFunction *function, ExistingFunction *existing)
{
	bool		in_script = creating_extension;
	bool		changed;

	if (in_script &&
		getExtensionOfObject(ProcedureRelationId,
							 existing->oid) != CurrentExtensionObject)
		creating_extension = false;
	changed = change_members_function(function, existing);
	creating_extension = in_script;
	return changed;
}

/* A function that is not ours is left alone, and a NOTICE says so. */
static bool
leave_alone(NavigationFunction *function)
{
	ereport(NOTICE,
			(errcode(ERRCODE_DUPLICATE_FUNCTION),
			 errmsg("function %s is not made anew for relationship \"%s\" of class \"%s\"",
					qualified_signature(function, function->schema),
					function->name, function->class_name),
			 errdetail("Another function, or a column, has its name, or its columns cannot be compared.")));
	return false;
}

bool
navigation_function_apply(NavigationFunction *function, bool lenient)
{
	bool		in_the_way;
	ExistingFunction existing = find_existing(function, &in_the_way);

	if (lenient && (in_the_way || !function->comparable ||
					(!OidIsValid(existing.oid) && is_shadowed(function))))
		return leave_alone(function);
	if (!OidIsValid(existing.oid))
	{
		check_name_free(function, in_the_way);
		check_comparable(function);
		create_function(function);
		return true;
	}

	/* keys that a dump has not restored yet are no reason to change it */
	if (navigation_restoring() && !function->settled)
		return add_dependencies(function, existing.oid);
	check_comparable(function);
	return change_function(function, &existing);
}

void
navigation_function_create(Model *owner, Relationship *relationship,
						   bool lenient)
{
	navigation_function_apply(navigation_describe(owner, relationship),
							  lenient);
}

/* What a change of the whole database could have changed: see above. */
void
navigation_functions_follow(void)
{
	ListCell   *lc;

	foreach(lc, model_list())
	{
		Model	   *model = lfirst(lc);

		for (int i = 0; i < model->nrelationships; i++)
			navigation_function_create(model, model->relationships[i], true);
	}
}

/* ------------------------------------------------------------------------
 * dropping what no relationship wants any more
 * ------------------------------------------------------------------------
 */

/* The relationship that a function of ours is made for, if it is there. */
static bool
is_wanted(HeapTuple tuple)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	Model	   *model = model_by_rowtype(form->proargtypes.values[0], true);

	return model != NULL &&
		model_relationship(model, NameStr(form->proname), true) != NULL;
}

/* Drops the functions of that name that no relationship stands behind. */
static void
drop_unwanted(const char *name)
{
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP,
										   CStringGetDatum(name));
	List	   *oids = NIL;
	List	   *roles = NIL;
	ListCell   *lc;
	ListCell   *role;

	for (int i = 0; i < list->n_members; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		if (!is_navigation_function(tuple) || is_wanted(tuple))
			continue;
		oids = lappend_oid(oids, form->oid);
		roles = lappend_oid(roles, form->proowner);
	}
	ReleaseCatCacheList(list);
	forboth(lc, oids, role, roles)
		drop_function(lfirst_oid(lc), lfirst_oid(role));
}

/* ------------------------------------------------------------------------
 * the row trigger of orm.relationship_def
 * ------------------------------------------------------------------------
 */
static char *
row_text(HeapTuple tuple, TupleDesc tupdesc, const char *column)
{
	return SPI_getvalue(tuple, tupdesc, SPI_fnumber(tupdesc, column));
}

static void
create_direction(const char *class_name, const char *name, bool lenient)
{
	Model	   *model = model_by_class(class_name, true);
	Relationship *relationship;

	if (model == NULL)
		return;
	relationship = model_relationship(model, name, true);
	if (relationship != NULL)
		navigation_function_create(model, relationship, lenient);
}

/* Both directions of a row; one that is not bound yet has none. */
static void
create_of_row(HeapTuple tuple, TupleDesc tupdesc, bool lenient)
{
	char	   *backref = row_text(tuple, tupdesc, "backref");

	create_direction(row_text(tuple, tupdesc, "class"),
					 row_text(tuple, tupdesc, "name"), lenient);
	if (backref != NULL)
		create_direction(row_text(tuple, tupdesc, "target"), backref,
						 lenient);
}

static void
drop_of_row(HeapTuple tuple, TupleDesc tupdesc)
{
	char	   *backref = row_text(tuple, tupdesc, "backref");

	drop_unwanted(row_text(tuple, tupdesc, "name"));
	if (backref != NULL)
		drop_unwanted(backref);
}

static bool
same_text(HeapTuple a, HeapTuple b, TupleDesc tupdesc, const char *column)
{
	char	   *of_a = row_text(a, tupdesc, column);
	char	   *of_b = row_text(b, tupdesc, column);

	return of_a == NULL || of_b == NULL ? of_a == of_b :
		strcmp(of_a, of_b) == 0;
}

/*
 * A row that names what it named before is there because something else
 * changed, which must not fail because of us.
 */
static void
update_of_row(HeapTuple old, HeapTuple new, TupleDesc tupdesc)
{
	bool		was_bound = row_text(old, tupdesc, "direction") != NULL;
	bool		same = same_text(old, new, tupdesc, "class") &&
	same_text(old, new, tupdesc, "name") &&
	same_text(old, new, tupdesc, "target") &&
	same_text(old, new, tupdesc, "backref");

	if (was_bound && !same)
		drop_of_row(old, tupdesc);
	create_of_row(new, tupdesc,
				  navigation_restoring() || (was_bound && same));
}

/* Anybody may call the function, but only as the trigger that it is. */
static void
check_trigger(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		RelationGetNamespace(trigger->tg_relation) !=
		get_namespace_oid(ORM_SCHEMA, false) ||
		strcmp(RelationGetRelationName(trigger->tg_relation),
			   "relationship_def") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("orm.relationship_changed must be called as an AFTER ROW trigger of orm.relationship_def")));
}

PG_FUNCTION_INFO_V1(orm_relationship_changed);
Datum
orm_relationship_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	tupdesc;

	check_trigger(fcinfo);

	/* let the metadata see the row */
	CommandCounterIncrement();
	tupdesc = RelationGetDescr(trigger->tg_relation);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		create_of_row(trigger->tg_trigtuple, tupdesc,
					  navigation_restoring());
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		update_of_row(trigger->tg_trigtuple, trigger->tg_newtuple, tupdesc);
	else
		drop_of_row(trigger->tg_trigtuple, tupdesc);
	return PointerGetDatum(NULL);
}

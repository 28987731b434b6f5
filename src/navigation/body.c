/*-------------------------------------------------------------------------
 *
 * body.c
 *	  The SQL that a navigation function consists of.
 *
 * Everything in a body is qualified, operators too, since it is parsed with
 * the caller's search_path.  The operators are those of the foreign key, or,
 * where there is no constraint, of the default B-tree family of the
 * referenced column.
 *
 * Memory: all results are in the caller's context.  Locks: none are taken;
 * the catalogs are read by system cache and system scans, because the event
 * trigger that follows renames runs this while it holds a strong lock on one
 * of the tables, and waiting for the other could deadlock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "navigation/internal.h"

/* One end of a comparison: columns of a relation, and how to write them. */
typedef struct Side
{
	const char *alias;			/* "c", "s" or "$1" */
	Oid			relid;
	AttrNumber *attnums;
} Side;

typedef struct ColumnInfo
{
	char	   *name;
	Oid			typid;
	Oid			collation;
} ColumnInfo;

static ColumnInfo
column_info(Oid relid, AttrNumber attnum)
{
	ColumnInfo	column;
	int32		typmod;

	column.name = get_attname(relid, attnum, false);
	get_atttypetypmodcoll(relid, attnum, &column.typid, &typmod,
						  &column.collation);
	return column;
}

/* ------------------------------------------------------------------------
 * operators
 * ------------------------------------------------------------------------
 */

/* Where in attnums[0..n-1] a column is, or -1. */
static int
attnum_position(const AttrNumber *attnums, int n, AttrNumber attnum)
{
	for (int i = 0; i < n; i++)
	{
		if (attnums[i] == attnum)
			return i;
	}
	return -1;
}

/*
 * If the constraint pairs exactly our columns, stores its operators
 * (referenced = referencing) in our order.
 */
static bool
match_foreign_key(HeapTuple tuple, Side *referencing, Side *referenced,
				  int n, Oid *operators)
{
	int			nkeys;
	AttrNumber	conkey[INDEX_MAX_KEYS];
	AttrNumber	confkey[INDEX_MAX_KEYS];
	Oid			pf_eq[INDEX_MAX_KEYS];
	Oid			pp_eq[INDEX_MAX_KEYS];
	Oid			ff_eq[INDEX_MAX_KEYS];
	int			nset;
	AttrNumber	set_columns[INDEX_MAX_KEYS];

	DeconstructFkConstraintRow(tuple, &nkeys, conkey, confkey, pf_eq, pp_eq,
							   ff_eq, &nset, set_columns);
	if (nkeys != n)
		return false;
	for (int i = 0; i < n; i++)
	{
		int			at = attnum_position(conkey, n, referencing->attnums[i]);

		if (at < 0 || confkey[at] != referenced->attnums[i])
			return false;
		operators[i] = pf_eq[at];
	}
	return true;
}

/* Looks for the foreign key that pairs the columns. */
static bool
find_foreign_key(Side *referencing, Side *referenced, int n, Oid *operators)
{
	Relation	catalog = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(referencing->relid));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, true,
							  NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);

		if (form->contype == CONSTRAINT_FOREIGN &&
			form->confrelid == referenced->relid)
			found = match_foreign_key(tuple, referencing, referenced, n,
									  operators);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * The operators (referenced = referencing) of n pairs of columns; returns
 * whether they are those of a foreign key.  One that does not exist is
 * invalid.
 */
static bool
pair_operators(Side *referencing, Side *referenced, int n, Oid *operators)
{
	if (find_foreign_key(referencing, referenced, n, operators))
		return true;
	for (int i = 0; i < n; i++)
	{
		ColumnInfo	one = column_info(referenced->relid,
									  referenced->attnums[i]);
		ColumnInfo	other = column_info(referencing->relid,
										referencing->attnums[i]);

		operators[i] = types_equality_operator(one.typid, other.typid);
	}
	return false;
}

/* ------------------------------------------------------------------------
 * SQL text
 * ------------------------------------------------------------------------
 */
static char *
qualified_relation(Oid relid)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));

	return quote_qualified_identifier(schema, get_rel_name(relid));
}

/*
 * A column as an operand.  It is cast where the operator takes another type,
 * so that the parser finds this very operator again.
 */
static void
append_operand(StringInfo buf, const char *alias, ColumnInfo *column,
			   Oid operator_input)
{
	appendStringInfo(buf, "%s.%s", alias, quote_identifier(column->name));
	if (operator_input != column->typid &&
		get_typtype(operator_input) != TYPTYPE_PSEUDO)
		appendStringInfo(buf, "::%s",
						 format_type_extended(operator_input, -1,
											  FORMAT_TYPE_FORCE_QUALIFY));
}

/*
 * Two columns of different collations, neither the default, need one of
 * them named: the referenced one's, as for the foreign key itself.
 */
static void
append_collation(StringInfo buf, ColumnInfo *referenced,
				 ColumnInfo *referencing)
{
	HeapTuple	tuple;
	Form_pg_collation form;
	char	   *schema;

	if (!OidIsValid(referenced->collation) ||
		!OidIsValid(referencing->collation) ||
		referenced->collation == DEFAULT_COLLATION_OID ||
		referencing->collation == DEFAULT_COLLATION_OID ||
		referenced->collation == referencing->collation)
		return;

	tuple = SearchSysCache1(COLLOID,
							ObjectIdGetDatum(referenced->collation));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u",
			 referenced->collation);
	form = (Form_pg_collation) GETSTRUCT(tuple);
	schema = get_namespace_name(form->collnamespace);
	appendStringInfo(buf, " COLLATE %s",
					 quote_qualified_identifier(schema,
												NameStr(form->collname)));
	ReleaseSysCache(tuple);
}

/* "c.hobby_id OPERATOR(pg_catalog.=) $1.id" */
static void
append_comparison(StringInfo buf, Side *referencing, Side *referenced, int i,
				  Oid operator, bool referencing_first)
{
	ColumnInfo	fk = column_info(referencing->relid,
								 referencing->attnums[i]);
	ColumnInfo	pk = column_info(referenced->relid, referenced->attnums[i]);
	Oid			commutator = get_commutator(operator);
	Oid			left,
				right;

	/* an operator without a commutator leaves no choice */
	if (referencing_first && !OidIsValid(commutator))
		referencing_first = false;
	if (referencing_first)
		operator = commutator;

	op_input_types(operator, &left, &right);
	if (referencing_first)
		append_operand(buf, referencing->alias, &fk, left);
	else
	{
		append_operand(buf, referenced->alias, &pk, left);
		append_collation(buf, &pk, &fk);
	}
	appendStringInfo(buf, " %s ", operator_sql(operator));
	if (referencing_first)
	{
		append_operand(buf, referenced->alias, &pk, right);
		append_collation(buf, &pk, &fk);
	}
	else
		append_operand(buf, referencing->alias, &fk, right);
}

/*
 * All comparisons of a pair of sides.  Clears settled if no constraint has
 * them, and comparable if there is no operator for them.
 */
static void
append_join(StringInfo buf, NavigationFunction *function, Side *referencing,
			Side *referenced, int n, bool referencing_first)
{
	Oid			operators[INDEX_MAX_KEYS];

	if (!pair_operators(referencing, referenced, n, operators))
		function->settled = false;
	for (int i = 0; i < n; i++)
	{
		if (!OidIsValid(operators[i]))
		{
			function->comparable = false;
			return;
		}
		if (i > 0)
			appendStringInfoString(buf, " AND ");
		append_comparison(buf, referencing, referenced, i, operators[i],
						  referencing_first);
	}
}

/*
 * With Citus in the database a condition that is true when the plan is made,
 * or raises: see distributed.c.
 */
static void
append_guard(StringInfo buf, NavigationFunction *function)
{
	if (!citus_is_present())
		return;
	appendStringInfoString(buf, " AND orm.not_distributed(");
	for (int i = 0; i < function->nrelations; i++)
	{
		char	   *name = qualified_relation(function->relations[i]);

		appendStringInfo(buf, "%s%s::pg_catalog.regclass", i ? ", " : "",
						 quote_literal_cstr(name));
	}
	appendStringInfoChar(buf, ')');
}

/* ------------------------------------------------------------------------
 * the bodies
 * ------------------------------------------------------------------------
 */
/*
 * Whether orm.to_one, given a value of the column, compares it as the
 * column's own comparison with the key would: a value that is converted to
 * the key's type must not lose anything.
 */
static bool
key_takes_column(ModelKeyColumn *key, ColumnInfo *column)
{
	Oid			from = getBaseType(column->typid);
	Oid			to = getBaseType(key->typid);

	return from == to || (is_integer_type(from) && is_integer_type(to)) ||
		can_coerce_type(1, &from, &to, COERCION_IMPLICIT);
}

/*
 * If the referenced columns are the target's primary key: the call of
 * orm.to_one with the referencing ones in the key's order.
 */
static char *
to_one_body(Relationship *r)
{
	Model	   *target = model_by_relid(r->target, true);
	StringInfoData buf;

	if (target == NULL || target->nkeys == 0 || target->nkeys != r->nremote)
		return NULL;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT orm.to_one(NULL::%s",
					 qualified_relation(r->target));
	for (int i = 0; i < target->nkeys; i++)
	{
		int			at = attnum_position(r->remote_attnums, r->nremote,
										 target->keys[i].attnum);
		ColumnInfo	column;

		if (at < 0)
			return NULL;
		column = column_info(r->owner, r->local_attnums[at]);
		if (!key_takes_column(&target->keys[i], &column))
			return NULL;
		appendStringInfo(&buf, ", $1.%s", quote_identifier(column.name));
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* "'{holder}'", a constant name[] */
static char *
columns_literal(Oid relid, const AttrNumber *attnums, int n)
{
	Datum	   *names = palloc(sizeof(Datum) * n);
	ArrayType  *array;

	for (int i = 0; i < n; i++)
	{
		Name		name = palloc0(sizeof(NameData));

		namestrcpy(name, get_attname(relid, attnums[i], false));
		names[i] = NameGetDatum(name);
	}
	array = construct_array(names, n, NAMEOID, NAMEDATALEN, false,
							TYPALIGN_CHAR);
	return quote_literal_cstr(OidOutputFunctionCall(F_ARRAY_OUT,
													PointerGetDatum(array)));
}

/*
 * Whether orm.to_one_by, which compares by the default equality of the
 * target's column, compares as the relationship does.
 */
static bool
default_takes_column(ColumnInfo *target, ColumnInfo *column, Oid operator)
{
	Oid			from = getBaseType(column->typid);
	Oid			to = getBaseType(target->typid);
	TypeCacheEntry *type = lookup_type_cache(to, TYPECACHE_EQ_OPR |
											 TYPECACHE_BTREE_OPFAMILY);

	return OidIsValid(type->eq_opr) && OidIsValid(type->btree_opf) &&
		get_op_opfamily_strategy(operator, type->btree_opf) ==
		BTEqualStrategyNumber &&
		(from == to || (is_integer_type(from) && is_integer_type(to)) ||
		 can_coerce_type(1, &from, &to, COERCION_IMPLICIT));
}

/*
 * The call of orm.to_one_by for a single object by other columns than the
 * primary key, or NULL.
 */
static char *
to_one_by_body(NavigationFunction *function, Relationship *r)
{
	Side		local = {"$1", r->owner, r->local_attnums};
	Side		remote = {"c", r->target, r->remote_attnums};
	bool		to_remote = r->direction == RELATIONSHIP_MANY_TO_ONE;
	Oid			operators[INDEX_MAX_KEYS];
	bool		settled;
	StringInfoData buf;

	settled = pair_operators(to_remote ? &local : &remote,
							 to_remote ? &remote : &local, r->nlocal,
							 operators);
	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT orm.to_one_by(NULL::%s, %s",
					 qualified_relation(r->target),
					 columns_literal(r->target, r->remote_attnums,
									 r->nremote));
	for (int i = 0; i < r->nlocal; i++)
	{
		ColumnInfo	target = column_info(r->target, r->remote_attnums[i]);
		ColumnInfo	column = column_info(r->owner, r->local_attnums[i]);

		if (!OidIsValid(operators[i]) ||
			!default_takes_column(&target, &column, operators[i]))
			return NULL;
		appendStringInfo(&buf, ", $1.%s", quote_identifier(column.name));
	}
	appendStringInfoChar(&buf, ')');
	function->settled = settled;
	return buf.data;
}

/* The query that joins one table, "c", to the argument. */
static void
append_direct_query(StringInfo buf, NavigationFunction *function,
					Relationship *r)
{
	Side		local = {"$1", r->owner, r->local_attnums};
	Side		remote = {"c", r->target, r->remote_attnums};

	appendStringInfo(buf, "SELECT c.* FROM %s c WHERE ",
					 qualified_relation(r->target));
	if (r->direction == RELATIONSHIP_MANY_TO_ONE)
		append_join(buf, function, &local, &remote, r->nlocal, false);
	else
		append_join(buf, function, &remote, &local, r->nlocal, true);
}

/* The query that goes through the secondary table "s". */
static void
append_secondary_query(StringInfo buf, NavigationFunction *function,
					   Relationship *r)
{
	Side		local = {"$1", r->owner, r->local_attnums};
	Side		link_local = {"s", r->secondary, r->secondary_local};
	Side		link_remote = {"s", r->secondary, r->secondary_remote};
	Side		remote = {"c", r->target, r->remote_attnums};

	appendStringInfo(buf, "SELECT c.* FROM %s c, %s s WHERE ",
					 qualified_relation(r->target),
					 qualified_relation(r->secondary));
	append_join(buf, function, &link_local, &local, r->nlocal, true);
	appendStringInfoString(buf, " AND ");
	append_join(buf, function, &link_remote, &remote, r->nremote, false);
}

static void
describe_body(NavigationFunction *function, Relationship *r)
{
	StringInfoData buf;

	if (!function->returns_set &&
		r->direction != RELATIONSHIP_MANY_TO_MANY)
	{
		function->body = r->direction == RELATIONSHIP_MANY_TO_ONE ?
			to_one_body(r) : NULL;
		if (function->body == NULL)
			function->body = to_one_by_body(function, r);
		if (function->body != NULL)
			return;
	}

	initStringInfo(&buf);
	if (r->direction == RELATIONSHIP_MANY_TO_MANY)
		append_secondary_query(&buf, function, r);
	else
		append_direct_query(&buf, function, r);
	append_guard(&buf, function);

	/* one object, and NULL if there is none, as SELECT orm.to_one gives */
	if (!function->returns_set)
		appendStringInfoString(&buf, " LIMIT 1");
	function->body = buf.data;
}

/*
 * A worker may neither read temporary tables nor open connections of its
 * own to a foreign server, whatever the planner knows about the tables
 * inside of a function that it did not inline.
 */
static bool
relation_is_parallel_safe(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	return get_rel_persistence(relid) != RELPERSISTENCE_TEMP &&
		(relkind == RELKIND_RELATION || relkind == RELKIND_MATVIEW);
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* What the function of the relationship should look like now. */
NavigationFunction *
navigation_describe(Model *owner, Relationship *r)
{
	NavigationFunction *function = palloc0(sizeof(NavigationFunction));

	function->name = r->name;
	function->class_name = owner->class_name;
	function->owner_relid = r->owner;
	function->owner_rowtype = owner->rowtype;
	function->target_rowtype = get_rel_type_id(r->target);
	function->schema = get_rel_namespace(r->owner);
	function->role = relation_owner(r->owner);
	function->returns_set = r->uselist;
	function->settled = true;
	function->comparable = true;

	function->relations[function->nrelations++] = r->owner;
	if (r->target != r->owner)
		function->relations[function->nrelations++] = r->target;
	if (OidIsValid(r->secondary) && r->secondary != r->owner &&
		r->secondary != r->target)
		function->relations[function->nrelations++] = r->secondary;

	function->parallel_safe = function->returns_set;
	for (int i = 0; i < function->nrelations; i++)
	{
		if (!relation_is_parallel_safe(function->relations[i]))
			function->parallel_safe = false;
	}
	describe_body(function, r);
	return function;
}

/*-------------------------------------------------------------------------
 *
 * sql_text.c
 *	  Pieces of generated SQL: everything quoted and schema-qualified, so
 *	  that no search_path changes what a statement means.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_operator.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "model/model.h"

/* "OPERATOR(pg_catalog.=)" */
char *
operator_sql(Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return result;
}

const char *
column_sql(Model *model, AttrNumber attnum)
{
	return quote_identifier(NameStr(TupleDescAttr(model->tupdesc,
												  attnum - 1)->attname));
}

/*
 * Equality of two types that stand in a foreign key or the like, from the
 * left one's default B-tree family, or of one type that the other is cast to
 * implicitly.
 */
Oid
types_equality_operator(Oid left, Oid right)
{
	Oid			left_base = getBaseType(left);
	Oid			right_base = getBaseType(right);
	int			flags = TYPECACHE_EQ_OPR | TYPECACHE_BTREE_OPFAMILY;
	TypeCacheEntry *left_type = lookup_type_cache(left_base, flags);
	TypeCacheEntry *right_type = lookup_type_cache(right_base, flags);
	Oid			operator = InvalidOid;

	if (left_type == right_type)
		return left_type->eq_opr;
	if (OidIsValid(left_type->btree_opf) && OidIsValid(right_type->btree_opf))
		operator = get_opfamily_member(left_type->btree_opf,
									   left_type->btree_opintype,
									   right_type->btree_opintype,
									   BTEqualStrategyNumber);
	if (!OidIsValid(operator) &&
		can_coerce_type(1, &right_base, &left_base, COERCION_IMPLICIT))
		operator = left_type->eq_opr;
	if (!OidIsValid(operator) &&
		can_coerce_type(1, &left_base, &right_base, COERCION_IMPLICIT))
		operator = right_type->eq_opr;
	return operator;
}

Oid
types_equality_required(Oid left, Oid right)
{
	Oid			operator = types_equality_operator(left, right);

	if (!OidIsValid(operator))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("there is no equality of types %s and %s",
						format_type_be(left), format_type_be(right))));
	return operator;
}

/* "l.a = r.b" */
char *
column_equality_sql(Model *left, const char *left_alias, AttrNumber left_attnum,
					Model *right, const char *right_alias,
					AttrNumber right_attnum)
{
	Oid			left_type = TupleDescAttr(left->tupdesc,
										  left_attnum - 1)->atttypid;
	Oid			right_type = TupleDescAttr(right->tupdesc,
										   right_attnum - 1)->atttypid;

	return psprintf("%s.%s %s %s.%s", left_alias, column_sql(left, left_attnum),
					operator_sql(types_equality_required(left_type, right_type)),
					right_alias, column_sql(right, right_attnum));
}

/* A class may have any name, also one that would end a comment. */
char *
class_comment(Model *model)
{
	char	   *result = pstrdup(model->class_name);

	for (char *c = result; *c != '\0'; c++)
	{
		if (*c == '*' || *c == '/')
			*c = '_';
	}
	return result;
}

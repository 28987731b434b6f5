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
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

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

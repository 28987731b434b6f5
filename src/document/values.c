/*-------------------------------------------------------------------------
 *
 * values.c
 *	  What the values in a document become in a row, where that is not plain.
 *
 * Everything is in the current memory context.  Locks: the table is locked as
 * for reading while its triggers are looked at.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "document/parts.h"
#include "session/internal.h"

/* The value of a json or jsonb column as jsonb; NULL as JSON's null. */
static Jsonb *
json_value(Oid type, Datum value, bool isnull)
{
	if (isnull)
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												  CStringGetDatum("null")));
	if (type == JSONBOID)
		return DatumGetJsonbP(value);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(TextDatumGetCString(value))));
}

/*
 * Not everything of JSON values comes through a document: neither the blanks
 * of a json column, nor whether a null was JSON's or SQL's.  They stay what
 * they were unless the document means something else.
 */
Datum
document_keep_json(Model *model, Datum before, Datum row, Bitmapset *columns)
{
	int			member = -1;

	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	attnum = member_column(member);
		Oid			type = getBaseType(TupleDescAttr(model->tupdesc,
													 attnum - 1)->atttypid);
		bool		before_null,
					isnull;
		Datum		old_value,
					value;

		if (type != JSONOID && type != JSONBOID)
			continue;
		old_value = row_column(model, before, attnum, &before_null);
		value = row_column(model, row, attnum, &isnull);
		if (compareJsonbContainers(&json_value(type, old_value,
											   before_null)->root,
								   &json_value(type, value, isnull)->root) == 0)
			row = row_with_columns(model, row, 1, &attnum, &old_value,
								   &before_null);
	}
	return row;
}

/* May a trigger fill in what the document does not have? */
static bool
has_insert_trigger(Model *model)
{
	Relation	relation = relation_open(model->relid, AccessShareLock);
	bool		result = relation->rd_rel->relkind != RELKIND_RELATION ||
	(relation->trigdesc != NULL &&
	 relation->trigdesc->trig_insert_before_row);

	relation_close(relation, NoLock);
	return result;
}

/* The flush would say so as well, but not where in the document. */
void
document_require_values(Model *model, const bool *nulls)
{
	for (AttrNumber attnum = 1; attnum <= model->tupdesc->natts; attnum++)
	{
		Form_pg_attribute column = TupleDescAttr(model->tupdesc, attnum - 1);

		if (!nulls[attnum - 1] || column->attisdropped ||
			!column->attnotnull || column->attgenerated != '\0' ||
			column->attidentity != '\0' || has_insert_trigger(model))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("%s of %s has no value", column_sql(model, attnum),
						model->class_name),
				 err_generic_string(PG_DIAG_TABLE_NAME,
									get_rel_name(model->relid)),
				 err_generic_string(PG_DIAG_COLUMN_NAME,
									NameStr(column->attname))));
	}
}

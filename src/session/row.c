/*-------------------------------------------------------------------------
 *
 * row.c
 *	  Rows of a model: copied, compared, laid over each other, and taken from
 *	  what statements return.
 *
 * Everything is allocated in the current memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "session/internal.h"

/* ------------------------------------------------------------------------
 * copies, differences, overlays
 * ------------------------------------------------------------------------
 */
HeapTupleData
row_as_tuple(Datum row)
{
	HeapTupleData tuple;

	tuple.t_data = DatumGetHeapTupleHeader(row);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	return tuple;
}

void
row_deform(Model *model, Datum row, Datum *values, bool *nulls)
{
	HeapTupleData tuple = row_as_tuple(row);

	heap_deform_tuple(&tuple, model->tupdesc, values, nulls);
}

HeapTuple
row_to_tuple(Datum row)
{
	HeapTupleData tuple = row_as_tuple(row);

	return heap_copytuple(&tuple);
}

Datum
row_from_tuple(Model *model, HeapTuple tuple)
{
	return heap_copy_tuple_as_datum(tuple, model->tupdesc);
}

Bitmapset *
row_difference(Model *model, HeapTuple a, HeapTuple b, Bitmapset *among)
{
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(2 * natts * sizeof(Datum));
	bool	   *nulls = palloc(2 * natts * sizeof(bool));
	Bitmapset  *result = NULL;

	heap_deform_tuple(a, model->tupdesc, values, nulls);
	heap_deform_tuple(b, model->tupdesc, values + natts, nulls + natts);
	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (attribute->attisdropped ||
			(among != NULL && !bms_is_member(column_member(i + 1), among)) ||
			(nulls[i] && nulls[natts + i]))
			continue;
		if (nulls[i] != nulls[natts + i] ||
			!datum_image_eq(values[i], values[natts + i],
							attribute->attbyval, attribute->attlen))
			result = bms_add_member(result, column_member(i + 1));
	}
	pfree(values);
	pfree(nulls);
	return result;
}

HeapTuple
row_overlay(Model *model, HeapTuple base, HeapTuple other, Bitmapset *which)
{
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));

	heap_deform_tuple(base, model->tupdesc, values, nulls);
	for (int i = 0; i < natts; i++)
	{
		if (bms_is_member(column_member(i + 1), which))
			values[i] = heap_getattr(other, i + 1, model->tupdesc, &nulls[i]);
	}
	return heap_form_tuple(model->tupdesc, values, nulls);
}

Bitmapset *
row_updatable_columns(Model *model)
{
	Bitmapset  *result = NULL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(model->tupdesc, i);

		if (!attribute->attisdropped && attribute->attgenerated == '\0' &&
			attribute->attidentity != ATTRIBUTE_IDENTITY_ALWAYS)
			result = bms_add_member(result, column_member(i + 1));
	}
	for (int i = 0; i < model->nkeys; i++)
		result = bms_del_member(result, column_member(model->keys[i].attnum));
	if (model->version_attnum != InvalidAttrNumber)
		result = bms_del_member(result, column_member(model->version_attnum));
	return result;
}

/*
 * Of a row from before a column was added only the table's own descriptor
 * knows what it has there.
 */
static HeapTuple
row_of_stored_slot(TupleTableSlot *slot)
{
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
	TupleDesc	tupdesc = slot->tts_tupleDescriptor;

	if (HeapTupleHeaderGetNatts(tuple->t_data) < tupdesc->natts)
		return heap_expand_tuple(tuple, tupdesc);
	return should_free ? tuple : heap_copytuple(tuple);
}

HeapTuple
row_of_slot(Model *model, TupleTableSlot *slot, int nextra)
{
	TupleDesc	tupdesc = model->tupdesc;
	HeapTuple	row;

	slot_getallattrs(slot);
	if (nextra == 0 && slot->tts_tupleDescriptor->natts == tupdesc->natts)
		row = row_of_stored_slot(slot);
	else
	{
		/* table.* leaves dropped columns out */
		Datum	   *values = palloc0(tupdesc->natts * sizeof(Datum));
		bool	   *nulls = palloc(tupdesc->natts * sizeof(bool));
		int			from = 0;

		for (int i = 0; i < tupdesc->natts; i++)
		{
			nulls[i] = true;
			if (TupleDescAttr(tupdesc, i)->attisdropped)
				continue;
			values[i] = slot->tts_values[from];
			nulls[i] = slot->tts_isnull[from++];
		}
		row = heap_form_tuple(tupdesc, values, nulls);
	}
	if (HeapTupleHasExternal(row))
		row = toast_flatten_tuple(row, tupdesc);
	return row;
}

HeapTuple
row_of_key_tuple(Model *model, const Datum *key)
{
	int			natts = model->tupdesc->natts;
	Datum	   *values = palloc0(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));

	memset(nulls, true, natts * sizeof(bool));
	for (int i = 0; i < model->nkeys; i++)
	{
		values[model->keys[i].attnum - 1] = key[i];
		nulls[model->keys[i].attnum - 1] = false;
	}
	return heap_form_tuple(model->tupdesc, values, nulls);
}

Datum
row_of_key(Model *model, const Datum *key)
{
	return row_from_tuple(model, row_of_key_tuple(model, key));
}

/* ------------------------------------------------------------------------
 * single columns
 * ------------------------------------------------------------------------
 */
Datum
row_column(Model *model, Datum row, AttrNumber attnum, bool *isnull)
{
	HeapTupleData tuple = row_as_tuple(row);

	return heap_getattr(&tuple, attnum, model->tupdesc, isnull);
}

Datum
row_with_columns(Model *model, Datum row, int n, const AttrNumber *attnums,
				 const Datum *values, const bool *nulls)
{
	int			natts = model->tupdesc->natts;
	Datum	   *row_values = palloc(natts * sizeof(Datum));
	bool	   *row_nulls = palloc(natts * sizeof(bool));

	row_deform(model, row, row_values, row_nulls);
	for (int i = 0; i < n; i++)
	{
		row_values[attnums[i] - 1] = values[i];
		row_nulls[attnums[i] - 1] = nulls[i];
	}
	return row_from_tuple(model, heap_form_tuple(model->tupdesc, row_values,
												 row_nulls));
}

Bitmapset *
column_set(int n, const AttrNumber *attnums)
{
	Bitmapset  *result = NULL;

	for (int i = 0; i < n; i++)
		result = bms_add_member(result, column_member(attnums[i]));
	return result;
}

Datum
convert_value(Datum value, Oid from, Oid to, int32 typmod)
{
	Oid			output,
				input,
				io_param;
	bool		is_varlena;

	if (from == to)
		return value;
	getTypeOutputInfo(from, &output, &is_varlena);
	getTypeInputInfo(to, &input, &io_param);
	return OidInputFunctionCall(input, OidOutputFunctionCall(output, value),
								io_param, typmod);
}

bool
column_values_equal(Model *a_model, AttrNumber a_attnum, Datum a,
					Model *b_model, AttrNumber b_attnum, Datum b)
{
	Form_pg_attribute a_column = TupleDescAttr(a_model->tupdesc, a_attnum - 1);
	Form_pg_attribute b_column = TupleDescAttr(b_model->tupdesc, b_attnum - 1);
	Oid			operator = types_equality_required(a_column->atttypid,
												   b_column->atttypid);

	return DatumGetBool(OidFunctionCall2Coll(get_opcode(operator),
											 a_column->attcollation, a, b));
}

/* ------------------------------------------------------------------------
 * versions of rows
 * ------------------------------------------------------------------------
 */

/* A view has no xmin, and that of a foreign table says nothing. */
bool
model_has_xmin(Model *model)
{
	return model->relkind == RELKIND_RELATION ||
		model->relkind == RELKIND_PARTITIONED_TABLE;
}

char *
session_select_list(Model *model, const char *alias)
{
	if (model_has_xmin(model))
		return psprintf("%s.*, %s.xmin", alias, alias);
	return psprintf("%s.*", alias);
}

int64
row_version_number(Model *model, HeapTuple row)
{
	bool		isnull;
	Datum		value;
	Oid			typid;

	if (model->version_attnum == InvalidAttrNumber)
		return -1;
	value = heap_getattr(row, model->version_attnum, model->tupdesc, &isnull);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("version column %s of %s is NULL",
						column_sql(model, model->version_attnum),
						model->class_name)));
	typid = TupleDescAttr(model->tupdesc, model->version_attnum - 1)->atttypid;
	if (!is_integer_type(typid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version column %s of %s is not an integer",
						column_sql(model, model->version_attnum),
						model->class_name)));
	return integer_of_datum(value, typid);
}

HeapTuple
row_of_loaded_slot(Model *model, TupleTableSlot *slot, int nextra,
				   TransactionId *xmin)
{
	bool		with_xmin = model_has_xmin(model);

	slot_getallattrs(slot);
	*xmin = with_xmin ?
		DatumGetTransactionId(slot->tts_values[slot->tts_nvalid - 1 - nextra]) :
		InvalidTransactionId;
	return row_of_slot(model, slot, nextra + (with_xmin ? 1 : 0));
}

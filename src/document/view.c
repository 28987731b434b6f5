/*-------------------------------------------------------------------------
 *
 * view.c
 *	  orm.save, and ORM views: documents as rows of an ordinary view, written
 *	  through INSTEAD OF triggers.
 *
 * An ORM view has the key columns of its class, the document as data and its
 * etag; it reads by functions of the row (reading.c), so that a condition on
 * a key column uses the index.  Class and selection are the arguments of its
 * trigger, which is where they are found again, also after a dump.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "document/saving.h"
#include "document/view.h"
#include "session/graph.h"

#define DATA_COLUMN "data"
#define ETAG_COLUMN "etag"
#define WRITE_FUNCTION "orm.write_document"

/* The stored document after it was written. */
typedef struct StoredDocument
{
	MemoryContext context;
	Datum		data;
	text	   *etag;
} StoredDocument;

/* A row of the statement, while it is being written. */
typedef struct WrittenRow
{
	TriggerData *trigger;
	Model	   *model;
} WrittenRow;

/* ------------------------------------------------------------------------
 * reading what was written
 * ------------------------------------------------------------------------
 */

/*
 * The rows of those keys, if the session is sure what is stored of all of
 * them: what this transaction wrote came back from the statement.
 */
static HeapTuple *
rows_known(Model *model, int n, Datum **keys)
{
	Session    *session = session_current();
	HeapTuple  *rows = palloc(n * sizeof(HeapTuple));

	if ((model->relkind != RELKIND_RELATION &&
		 model->relkind != RELKIND_PARTITIONED_TABLE) ||
		!access_memory_suffices(model))
		return NULL;
	for (int i = 0; i < n; i++)
	{
		Object	   *object = session_find(session, model, keys[i]);

		if (object == NULL || object_is_modified(object) ||
			!object_row_is_certain(object))
			return NULL;
		rows[i] = object_stored_row(object);
	}
	return rows;
}

/* Reads the documents of those keys as they are stored now. */
static void
read_stored(DocumentReaders *readers, bool etag, int n, Datum **keys,
			DocumentSink sink, void *arg)
{
	Model	   *model = readers->model;
	int			missing;

	if (n == 0)
		return;
	SPI_connect();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	missing = reader_run_keys(document_reader(readers, etag), n, keys,
							  rows_known(model, n, keys), sink, arg);
	if (missing >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the saved document of %s %s cannot be read",
						model->class_name,
						model_key_to_text(model, keys[missing]))));
	PopActiveSnapshot();
	SPI_finish();
}

static Datum
json_to_jsonb(char *json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

static void
stored_sink(void *arg, StringInfo json, const char *etag)
{
	StoredDocument *stored = arg;
	MemoryContext old = MemoryContextSwitchTo(stored->context);

	stored->data = json_to_jsonb(json->data);
	stored->etag = cstring_to_text(etag);
	MemoryContextSwitchTo(old);
}

/* The documents one after the other, as the elements of an array. */
static void
array_sink(void *arg, StringInfo json, const char *etag)
{
	StringInfo	array = arg;

	if (array->len > 1)
		appendStringInfoChar(array, ',');
	appendBinaryStringInfo(array, json->data, json->len);
}

/* ------------------------------------------------------------------------
 * orm.save
 * ------------------------------------------------------------------------
 */

/* The documents that relationship has in any of the documents. */
static List *
nested_documents(List *documents, const char *name, bool *named)
{
	JsonbValue	key = {.type = jbvString};
	List	   *nested = NIL;
	ListCell   *cell;

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	*named = false;
	foreach(cell, documents)
	{
		JsonbContainer *document = lfirst(cell);
		JsonbValue *value = findJsonbValueFromContainer(document, JB_FOBJECT,
														&key);
		JsonbContainer *container;

		*named |= value != NULL;
		if (value == NULL || value->type != jbvBinary)
			continue;
		container = value->val.binary.data;
		if (JsonContainerIsObject(container))
			nested = lappend(nested, container);
		for (uint32 i = 0; JsonContainerIsArray(container) &&
			 i < JsonContainerSize(container); i++)
		{
			value = getIthJsonbValueFromContainer(container, i);
			if (value->type == jbvBinary &&
				JsonContainerIsObject(value->val.binary.data))
				nested = lappend(nested, value->val.binary.data);
		}
	}
	return nested;
}

/*
 * The selection that documents themselves make: all columns of each object,
 * and the relationships that are named.
 */
static void
append_selection_of(StringInfo text, Model *model, List *documents)
{
	check_stack_depth();
	appendStringInfoString(text, "{ *");
	for (int i = 0; documents != NIL && i < model->nrelationships; i++)
	{
		Relationship *relationship = model->relationships[i];
		bool		named;
		List	   *nested;

		if (model_attnum(model, relationship->name, true) != InvalidAttrNumber)
			continue;
		nested = nested_documents(documents, relationship->name, &named);
		if (!named)
			continue;
		appendStringInfoChar(text, ' ');
		escape_json(text, relationship->name);
		appendStringInfoChar(text, ' ');
		append_selection_of(text, model_by_relid(relationship->target, false),
							nested);
	}
	appendStringInfoString(text, " }");
}

static char *
selection_of_documents(Model *model, List *documents)
{
	StringInfoData text;
	List	   *containers = NIL;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, documents)
	{
		Jsonb	   *document = lfirst(cell);

		if (JB_ROOT_IS_OBJECT(document))
			containers = lappend(containers, &document->root);
	}
	append_selection_of(&text, model, containers);
	return text.data;
}

static bool
is_array_document(Jsonb *doc)
{
	return JB_ROOT_IS_ARRAY(doc) && !JB_ROOT_IS_SCALAR(doc);
}

/* One document, or those of an array: List of Jsonb *. */
static List *
documents_of(Jsonb *doc)
{
	List	   *documents = NIL;

	if (!is_array_document(doc))
		return list_make1(doc);
	for (uint32 i = 0; i < JsonContainerSize(&doc->root); i++)
		documents = lappend(documents,
							JsonbValueToJsonb(getIthJsonbValueFromContainer(&doc->root,
																			i)));
	return documents;
}

static Datum
save_documents(DocumentReaders *readers, List *documents, bool many)
{
	Datum	  **keys = documents_save(session_current(), readers, documents,
									  many, NULL, SAVE_MERGE, LOAD_COMPARE);
	StringInfoData result;

	initStringInfo(&result);
	appendStringInfoChar(&result, '[');
	read_stored(readers, false, list_length(documents), keys, array_sink,
				&result);
	appendStringInfoChar(&result, ']');
	if (many)
		return json_to_jsonb(result.data);
	/* without the brackets */
	result.data[result.len - 1] = '\0';
	return json_to_jsonb(result.data + 1);
}

PG_FUNCTION_INFO_V1(orm_save);
Datum
orm_save(PG_FUNCTION_ARGS)
{
	Model	   *model;
	List	   *documents;
	char	   *selection;
	DocumentReaders readers;

	session_require_writable("orm.save()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s of orm.save must not be NULL",
						PG_ARGISNULL(0) ? "class" : "doc")));
	model = model_by_class(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
	documents = documents_of(PG_GETARG_JSONB_P(1));
	selection = PG_ARGISNULL(2) ? selection_of_documents(model, documents) :
		text_to_cstring(PG_GETARG_TEXT_PP(2));
	readers = document_readers(model, selection, false);
	return save_documents(&readers, documents,
						  is_array_document(PG_GETARG_JSONB_P(1)));
}

/* ------------------------------------------------------------------------
 * making and dropping views
 * ------------------------------------------------------------------------
 */
static char *
required_text(FunctionCallInfo fcinfo, int argno, const char *call,
			  const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s of %s must not be NULL", name, call)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

static RangeVar *
view_name(FunctionCallInfo fcinfo, const char *call)
{
	text	   *name = cstring_to_text(required_text(fcinfo, 0, call, "name"));

	return makeRangeVarFromNameList(textToQualifiedNameList(name));
}

static char *
create_view_sql(const char *view, Model *model, const char *selection)
{
	StringInfoData sql;
	char	   *literal = quote_literal_cstr(selection);

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE VIEW %s WITH (security_invoker = true) AS SELECT ",
					 view);
	for (int i = 0; i < model->nkeys; i++)
	{
		char	   *name = NameStr(TupleDescAttr(model->tupdesc,
												 model->keys[i].attnum - 1)->attname);

		if (strcmp(name, DATA_COLUMN) == 0 || strcmp(name, ETAG_COLUMN) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("key column \"%s\" of %s has the name of a column of ORM views",
							name, model->class_name)));
		appendStringInfo(&sql, "t.%s, ", quote_identifier(name));
	}
	appendStringInfo(&sql, "orm.row_document(t.*, %s) AS " DATA_COLUMN
					 ", orm.row_etag(t.*, %s) AS " ETAG_COLUMN " FROM %s AS t",
					 literal, literal, model->relation_name);
	return sql.data;
}

static void
execute_utility(const char *sql)
{
	int			result = SPI_execute(sql, false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

PG_FUNCTION_INFO_V1(orm_create_view);
Datum
orm_create_view(PG_FUNCTION_ARGS)
{
	RangeVar   *name = view_name(fcinfo, "orm.create_view");
	char	   *view = quote_qualified_identifier(name->schemaname,
												  name->relname);
	char	   *class_name = required_text(fcinfo, 1, "orm.create_view",
										   "class");
	char	   *selection = required_text(fcinfo, 2, "orm.create_view",
										  "selection");
	Model	   *model = model_by_class(class_name, false);

	(void) selection_create(model, selection);
	SPI_connect();
	execute_utility(create_view_sql(view, model, selection));
	execute_utility(psprintf("CREATE TRIGGER write_document INSTEAD OF INSERT OR UPDATE OR DELETE ON %s "
							 "FOR EACH ROW EXECUTE FUNCTION " WRITE_FUNCTION "(%s, %s)",
							 view, quote_literal_cstr(model->class_name),
							 quote_literal_cstr(selection)));
	SPI_finish();
	PG_RETURN_VOID();
}

/* The trigger that makes a relation an ORM view, or NULL. */
static Trigger *
write_trigger(Relation relation)
{
	Oid			function = LookupFuncName(compat_qualified_name_list(WRITE_FUNCTION),
										  0, NULL, false);
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (triggers->triggers[i].tgfoid == function &&
			triggers->triggers[i].tgnargs == 2)
			return &triggers->triggers[i];
	}
	return NULL;
}

static void
report_no_orm_view(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not an ORM view", name),
			 errhint("ORM views are made by orm.create_view().")));
}

Selection *
view_selection(Relation relation)
{
	Trigger    *trigger = write_trigger(relation);
	char	   *class_name;
	char	   *selection;

	if (trigger == NULL)
		report_no_orm_view(RelationGetRelationName(relation));
	/* the trigger is the relation cache's, and goes when news come */
	class_name = pstrdup(trigger->tgargs[0]);
	selection = pstrdup(trigger->tgargs[1]);
	return selection_create(model_by_class(class_name, false), selection);
}

PG_FUNCTION_INFO_V1(orm_drop_view);
Datum
orm_drop_view(PG_FUNCTION_ARGS)
{
	RangeVar   *name = view_name(fcinfo, "orm.drop_view");
	Relation	relation = relation_openrv(name, AccessShareLock);
	bool		is_orm_view = write_trigger(relation) != NULL;
	char	   *view =
	quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
							   RelationGetRelationName(relation));

	relation_close(relation, NoLock);
	if (!is_orm_view)
		report_no_orm_view(name->relname);
	SPI_connect();
	execute_utility(psprintf("DROP VIEW %s", view));
	SPI_finish();
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------------
 * the trigger
 * ------------------------------------------------------------------------
 */

static void
require_view_column(Relation view, const char *name, Oid type)
{
	TupleDesc	tupdesc = RelationGetDescr(view);
	int			attnum = SPI_fnumber(tupdesc, name);

	if (attnum <= 0 || TupleDescAttr(tupdesc, attnum - 1)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" has no column \"%s\" of type %s",
						RelationGetRelationName(view), name,
						format_type_be(type)),
				 errhint("Make the view anew by orm.drop_view() and orm.create_view().")));
}

/*
 * Anybody can make a view with this trigger, and the key of a class may have
 * changed since.
 */
static void
check_view_columns(Relation view, Model *model)
{
	for (int i = 0; i < model->nkeys; i++)
	{
		Form_pg_attribute key = TupleDescAttr(model->tupdesc,
											  model->keys[i].attnum - 1);

		require_view_column(view, NameStr(key->attname), key->atttypid);
	}
	require_view_column(view, DATA_COLUMN, JSONBOID);
	require_view_column(view, ETAG_COLUMN, TEXTOID);
}

/* The key columns of a row of the view, as far as they are not NULL. */
static ForeignKeyValues
view_key(TriggerData *trigger, HeapTuple row, Model *model)
{
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	ForeignKeyValues key = {
		.attnums = palloc(model->nkeys * sizeof(AttrNumber)),
		.values = palloc(model->nkeys * sizeof(Datum)),
		.nulls = palloc0(model->nkeys * sizeof(bool))
	};

	for (int i = 0; i < model->nkeys; i++)
	{
		AttrNumber	attnum = model->keys[i].attnum;
		char	   *name = NameStr(TupleDescAttr(model->tupdesc,
												 attnum - 1)->attname);
		bool		isnull;
		Datum		value = heap_getattr(row, SPI_fnumber(tupdesc, name),
										 tupdesc, &isnull);

		if (isnull)
			continue;
		key.attnums[key.n] = attnum;
		key.values[key.n++] = value;
	}
	return key;
}

static Datum
view_column(TriggerData *trigger, HeapTuple row, const char *name,
			bool *isnull)
{
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);

	return heap_getattr(row, SPI_fnumber(tupdesc, name), tupdesc, isnull);
}

static Jsonb *
view_document(TriggerData *trigger, HeapTuple row)
{
	bool		isnull;
	Datum		data = view_column(trigger, row, DATA_COLUMN, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the document of %s is NULL",
						RelationGetRelationName(trigger->tg_relation))));
	return DatumGetJsonbP(data);
}

static char *
view_etag(TriggerData *trigger, HeapTuple row)
{
	bool		isnull;
	Datum		etag = view_column(trigger, row, ETAG_COLUMN, &isnull);

	return isnull ? NULL : TextDatumGetCString(etag);
}

/* The row of the view as it is stored now. */
static HeapTuple
stored_view_row(TriggerData *trigger, HeapTuple row, DocumentReaders *readers,
				Datum *key)
{
	Model	   *model = readers->model;
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	int			n = model->nkeys + 2;
	int		   *columns = palloc(n * sizeof(int));
	Datum	   *values = palloc(n * sizeof(Datum));
	bool	   *nulls = palloc0(n * sizeof(bool));
	StoredDocument stored = {.context = CurrentMemoryContext};

	read_stored(readers, true, 1, &key, stored_sink, &stored);
	for (int i = 0; i < model->nkeys; i++)
	{
		columns[i] = SPI_fnumber(tupdesc,
								 NameStr(TupleDescAttr(model->tupdesc,
													   model->keys[i].attnum - 1)->attname));
		values[i] = key[i];
	}
	columns[n - 2] = SPI_fnumber(tupdesc, DATA_COLUMN);
	values[n - 2] = stored.data;
	columns[n - 1] = SPI_fnumber(tupdesc, ETAG_COLUMN);
	values[n - 1] = PointerGetDatum(stored.etag);
	return heap_modify_tuple_by_cols(row, tupdesc, n, columns, values, nulls);
}

static HeapTuple
view_insert(TriggerData *trigger, DocumentReaders *readers)
{
	HeapTuple	row = trigger->tg_trigtuple;
	ForeignKeyValues known = view_key(trigger, row, readers->model);
	Datum	  **keys = documents_save(session_current(), readers,
									  list_make1(view_document(trigger, row)),
									  false, known.n > 0 ? &known : NULL,
									  SAVE_INSERT, LOAD_COMPARE);

	return stored_view_row(trigger, row, readers, keys[0]);
}

static bool
document_has_etag(Jsonb *doc)
{
	JsonbValue	key = {.type = jbvString};
	JsonbValue *value;

	key.val.string.val = ETAG_FIELD;
	key.val.string.len = strlen(ETAG_FIELD);
	value = JB_ROOT_IS_OBJECT(doc) ?
		findJsonbValueFromContainer(&doc->root, JB_FOBJECT, &key) : NULL;
	return value != NULL && value->type != jbvNull;
}

static bool
json_values_equal(JsonbValue *a, JsonbValue *b)
{
	JsonbParseState *state = NULL;
	Jsonb	   *jsons[2];

	for (int i = 0; i < 2; i++)
	{
		state = NULL;
		(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		(void) pushJsonbValue(&state, WJB_ELEM, i == 0 ? a : b);
		jsons[i] = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY,
													NULL));
	}
	return compareJsonbContainers(&jsons[0]->root, &jsons[1]->root) == 0;
}

/*
 * The document without the fields that are as they were: nothing is asked of
 * what the update leaves alone.
 */
static Jsonb *
changed_fields(Jsonb *old_doc, Jsonb *doc)
{
	JsonbIterator *iterator;
	JsonbParseState *state = NULL;
	JsonbValue	key,
				value;

	if (!JB_ROOT_IS_OBJECT(doc) || !JB_ROOT_IS_OBJECT(old_doc))
		return doc;
	iterator = JsonbIteratorInit(&doc->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		JsonbValue *old_value = findJsonbValueFromContainer(&old_doc->root,
															JB_FOBJECT, &key);

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (old_value != NULL && json_values_equal(old_value, &value) &&
			strncmp(key.val.string.val, ETAG_FIELD, key.val.string.len) != 0)
			continue;
		(void) pushJsonbValue(&state, WJB_KEY, &key);
		(void) pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static HeapTuple
view_update(TriggerData *trigger, DocumentReaders *readers)
{
	HeapTuple	row = trigger->tg_newtuple;
	Model	   *model = readers->model;
	ForeignKeyValues known = view_key(trigger, trigger->tg_trigtuple, model);
	ForeignKeyValues new_key = view_key(trigger, row, model);
	Jsonb	   *doc = view_document(trigger, row);
	char	   *etag = view_etag(trigger, row);
	Session    *session = session_current();
	LoadMode	load = LOAD_COMPARE;

	if (new_key.n != known.n ||
		!model_key_equal(model, new_key.values, known.values))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the key of a document of %s cannot be changed",
						model->class_name)));
	session_autoflush(session);
	/* one within the document is checked when it is taken apart */
	if (etag != NULL && !document_has_etag(doc))
	{
		if (documents_check_etags(readers, 1, &known.values, &etag) >= 0)
			report_stale_document(model, known.values);
		load = LOAD_REFRESH;
	}
	doc = changed_fields(view_document(trigger, trigger->tg_trigtuple), doc);
	(void) documents_save(session, readers, list_make1(doc), false, &known,
						  SAVE_UPDATE, load);
	return stored_view_row(trigger, row, readers, known.values);
}

static HeapTuple
view_delete(TriggerData *trigger, DocumentReaders *readers)
{
	HeapTuple	row = trigger->tg_trigtuple;
	ForeignKeyValues key = view_key(trigger, row, readers->model);

	document_delete(session_current(), readers, key.values,
					view_etag(trigger, row));
	return row;
}

static const char *
event_text(TriggerEvent event)
{
	return TRIGGER_FIRED_BY_INSERT(event) ? "INSERT" :
		TRIGGER_FIRED_BY_UPDATE(event) ? "UPDATE" : "DELETE";
}

/* Which row of the statement it is, for the CONTEXT of errors. */
static void
view_error_context(void *arg)
{
	TriggerData *trigger = ((WrittenRow *) arg)->trigger;
	Model	   *model = ((WrittenRow *) arg)->model;
	const char *view = RelationGetRelationName(trigger->tg_relation);
	ForeignKeyValues key = view_key(trigger, trigger->tg_trigtuple, model);

	if (key.n == model->nkeys)
		errcontext("%s of %s %s in ORM view \"%s\"",
				   event_text(trigger->tg_event), model->class_name,
				   model_key_to_text(model, key.values), view);
	else
		errcontext("%s of a %s in ORM view \"%s\"",
				   event_text(trigger->tg_event), model->class_name, view);
}

static HeapTuple
write_row(TriggerData *trigger, DocumentReaders *readers)
{
	WrittenRow	row = {.trigger = trigger,.model = readers->model};
	ErrorContextCallback callback;
	HeapTuple	result;

	callback.callback = view_error_context;
	callback.arg = &row;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		result = view_insert(trigger, readers);
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		result = view_update(trigger, readers);
	else
		result = view_delete(trigger, readers);
	error_context_stack = callback.previous;
	return result;
}

PG_FUNCTION_INFO_V1(orm_write_document);
Datum
orm_write_document(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	char	  **arguments;
	DocumentReaders readers;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg(WRITE_FUNCTION "() is the trigger of ORM views"),
				 errhint("Make one by orm.create_view().")));
	session_require_writable("a write to an ORM view");
	arguments = trigger->tg_trigger->tgargs;
	readers = document_readers(model_by_class(arguments[0], false),
							   arguments[1], true);
	check_view_columns(trigger->tg_relation, readers.model);
	return PointerGetDatum(write_row(trigger, &readers));
}

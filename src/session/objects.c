/*-------------------------------------------------------------------------
 *
 * objects.c
 *	  The SQL calls on objects: thin entry points over unit_of_work.c.
 *
 * The model of a call is looked up once per call site and kept in fn_extra
 * for as long as the metadata stands and the transaction lasts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "session/graph.h"
#include "session/internal.h"
#include "session/unit_of_work.h"

typedef struct CallSite
{
	LocalTransactionId lxid;
	uint64		generation;
	Model	   *model;
	KeyArguments *key_arguments;
	MemoryContext context;
} CallSite;

/* The call site's model; with keys, those of the arguments from 1 on. */
static CallSite *
call_site(FunctionCallInfo fcinfo, bool with_keys)
{
	CallSite   *site = fcinfo->flinfo->fn_extra;

	if (site == NULL)
	{
		site = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									  sizeof(CallSite));
		site->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt,
											  "pg_orm call site",
											  ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = site;
	}
	if (site->model == NULL || site->lxid != compat_my_lxid() ||
		site->generation != model_generation())
	{
		site->model = NULL;
		MemoryContextReset(site->context);
		site->model = model_from_argument(fcinfo, 0);
		if (with_keys)
			site->key_arguments = key_arguments_prepare(fcinfo, 1, site->model,
														site->context);
		site->lxid = compat_my_lxid();
		site->generation = model_generation();
	}
	return site;
}

static Model *
call_model(FunctionCallInfo fcinfo)
{
	return call_site(fcinfo, false)->model;
}

/* The object argument, or NULL. */
static HeapTupleHeader
object_argument(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(0) ? NULL : PG_GETARG_HEAPTUPLEHEADER(0);
}

static Jsonb *
document_argument(FunctionCallInfo fcinfo, int argno, Model *model)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the document of %s is NULL", model->class_name)));
	return PG_GETARG_JSONB_P(argno);
}

static Datum
object_result(Model *model, Object *object)
{
	Datum		row = object_current_datum(model, object);

	if (row == (Datum) 0)
		elog(ERROR, "the row of %s is not known", model->class_name);
	return row;
}

/* The object of the session that an object argument names, if any. */
static Object *
object_in_session(FunctionCallInfo fcinfo, Model *model)
{
	HeapTupleHeader row = object_argument(fcinfo);
	Datum	   *key = palloc(model->nkeys * sizeof(Datum));
	Session    *session = session_current_if_any();

	if (session == NULL || row == NULL || !model_key_of_row(model, row, key))
		return NULL;
	return session_find(session, model, key);
}

/* ------------------------------------------------------------------------
 * add
 * ------------------------------------------------------------------------
 */
PG_FUNCTION_INFO_V1(orm_add_object);
Datum
orm_add_object(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);
	Session    *session = session_current();
	Object	   *object;
	Bitmapset  *given;
	Datum		row;

	session_require_writable("orm.add()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no object given"),
				 errhint("To add an object from a document: orm.add(NULL::%s, '{...}').",
						 model->relation_name)));
	object = object_in_session(fcinfo, model);
	if (object != NULL && object->top->state != OBJECT_DELETED &&
		!object->top->marked_deleted)
	{
		object = session_object(session, model, object_argument(fcinfo));
		PG_RETURN_DATUM(object_result(model, object));
	}
	row = PG_GETARG_DATUM(0);
	given = row_columns_given(model, row);
	row = row_with_defaults(model, row, &given);
	object = session_add(session, model, row, given);
	PG_RETURN_DATUM(object_result(model, object));
}

PG_FUNCTION_INFO_V1(orm_add_document);
Datum
orm_add_document(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);

	session_require_writable("orm.add()");
	PG_RETURN_DATUM(graph_add(session_current(), model,
							  document_argument(fcinfo, 1, model)));
}

/* ------------------------------------------------------------------------
 * merge
 * ------------------------------------------------------------------------
 */
PG_FUNCTION_INFO_V1(orm_merge_document);
Datum
orm_merge_document(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);

	session_require_writable("orm.merge()");
	PG_RETURN_DATUM(graph_merge(session_current(), model,
								document_argument(fcinfo, 1, model)));
}

PG_FUNCTION_INFO_V1(orm_merge_object);
Datum
orm_merge_object(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);

	session_require_writable("orm.merge()");
	if (PG_ARGISNULL(0))
		(void) object_key_required(model, NULL);
	PG_RETURN_DATUM(graph_merge_row(session_current(), model,
									PG_GETARG_DATUM(0)));
}

static void
add_document(Session *session, Model *model, const JsonbValue *document,
			 Tuplestorestate *result)
{
	HeapTuple	row = NULL;
	HeapTupleData tuple;

	if (document->type == jbvBinary)
		row = graph_add_plain(session, model, document->val.binary.data);
	if (row == NULL)
	{
		tuple = row_as_tuple(graph_add(session, model,
									   JsonbValueToJsonb((JsonbValue *) document)));
		row = &tuple;
	}
	tuplestore_puttuple(result, row);
}

/* Adds the documents of an array, and puts the objects into the result. */
static void
add_documents(Model *model, Jsonb *docs, ReturnSetInfo *rsinfo)
{
	Session    *session = session_current();
	JsonbIterator *iterator = JsonbIteratorInit(&docs->root);
	MemoryContext per_document = AllocSetContextCreate(CurrentMemoryContext,
													   "pg_orm document",
													   ALLOCSET_DEFAULT_SIZES);
	JsonbIteratorToken token;
	JsonbValue	value;

	identity_map_expect(session, JB_ROOT_COUNT(docs));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		MemoryContext old;

		if (token != WJB_ELEM)
			continue;
		old = MemoryContextSwitchTo(per_document);
		add_document(session, model, &value, rsinfo->setResult);
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_document);
	}
	MemoryContextDelete(per_document);
}

PG_FUNCTION_INFO_V1(orm_add_all);
Datum
orm_add_all(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);
	Jsonb	   *docs = document_argument(fcinfo, 1, model);

	session_require_writable("orm.add_all()");
	if (!JB_ROOT_IS_ARRAY(docs) || JB_ROOT_IS_SCALAR(docs))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the documents of %s must be a JSON array of objects",
						model->class_name)));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	add_documents(model, docs, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* ------------------------------------------------------------------------
 * get and refresh
 * ------------------------------------------------------------------------
 */

/* The row of a key as the session shows it, from memory alone if it can. */
static Datum
get_row(Session *session, Model *model, const Datum *key, bool *found)
{
	Object	   *object = session_find(session, model, key);
	Datum		row;

	*found = object == NULL || !object->top->marked_deleted;
	if (object != NULL && access_memory_suffices(model) &&
		object->top->state != OBJECT_DELETED && *found &&
		(row = object_current_datum(model, object)) != (Datum) 0)
		return row;
	if (!*found)
		return (Datum) 0;		/* there is nothing to flush or to read */

	session_autoflush(session);
	*found = session_load_by_key(session, model, key, false);
	object = *found ? session_find(session, model, key) : NULL;
	if (object == NULL)
	{
		/* pending still, with autoflush off or for another user's eyes */
		object = session_find(session, model, key);
		*found = object != NULL && object->top->state == OBJECT_PENDING;
	}
	else if (object->top->marked_deleted)
		*found = false;
	return *found ? object_result(model, object) : (Datum) 0;
}

static Datum
get_result(FunctionCallInfo fcinfo, Model *model, const Datum *key)
{
	bool		found;
	Datum		row = get_row(session_current(), model, key, &found);

	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(row);
}

PG_FUNCTION_INFO_V1(orm_get);
Datum
orm_get(PG_FUNCTION_ARGS)
{
	CallSite   *site = call_site(fcinfo, true);
	Datum		key[INDEX_MAX_KEYS];

	if (!key_arguments_read(site->key_arguments, fcinfo, key))
		PG_RETURN_NULL();
	return get_result(fcinfo, site->model, key);
}

static void expire_neighbour(Session *session, Model *model, Object *object);

static void
expire_with_cascade(Session *session, Model *model, Object *object)
{
	HeapTuple	current = object_current_row(object);
	Datum		row = current ? row_from_tuple(model, current) : (Datum) 0;

	session_expire(model, object);
	if (current != NULL)
		cascade_visit(session, model, row, CASCADE_REFRESH_EXPIRE,
					  expire_neighbour);
}

/* What is not stored yet, or expired by now, is left alone. */
static void
expire_neighbour(Session *session, Model *model, Object *object)
{
	if (object->top->state == OBJECT_PERSISTENT &&
		object_current_row(object) != NULL)
		expire_with_cascade(session, model, object);
}

PG_FUNCTION_INFO_V1(orm_refresh);
Datum
orm_refresh(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);
	Session    *session = session_current();
	Datum	   *key = object_key_required(model, object_argument(fcinfo));
	Object	   *object = session_find(session, model, key);

	if (object != NULL)
		expire_with_cascade(session, model, object);
	session_autoflush(session);
	object = session_object_load(session, model, key, true);
	PG_RETURN_DATUM(object_result(model, object));
}

/* ------------------------------------------------------------------------
 * set and delete
 * ------------------------------------------------------------------------
 */
PG_FUNCTION_INFO_V1(orm_set);
Datum
orm_set(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);
	Datum	   *key;

	session_require_writable("orm.set()");
	key = object_key_required(model, object_argument(fcinfo));
	PG_RETURN_DATUM(graph_set(session_current(), model,
							  row_of_key(model, key),
							  document_argument(fcinfo, 1, model)));
}

PG_FUNCTION_INFO_V1(orm_delete);
Datum
orm_delete(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);

	session_require_writable("orm.delete()");
	session_delete(model, session_object(session_current(), model,
										 object_argument(fcinfo)));
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------------
 * forgetting
 * ------------------------------------------------------------------------
 */
PG_FUNCTION_INFO_V1(orm_expire);
Datum
orm_expire(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);
	Object	   *object = object_in_session(fcinfo, model);

	if (object != NULL)
		expire_with_cascade(object->session, model, object);
	PG_RETURN_VOID();
}

static void
expunge_with_cascade(Session *session, Model *model, Object *object)
{
	HeapTuple	current = object_current_row(object);
	Datum		row = current ? row_from_tuple(model, current) : (Datum) 0;

	object_expunge(object);
	if (current == NULL)
		return;
	session_forget_links(session, model, row);
	cascade_visit(session, model, row, CASCADE_EXPUNGE, expunge_with_cascade);
}

PG_FUNCTION_INFO_V1(orm_expunge);
Datum
orm_expunge(PG_FUNCTION_ARGS)
{
	Model	   *model = call_model(fcinfo);
	Object	   *object = object_in_session(fcinfo, model);

	if (object != NULL)
		expunge_with_cascade(object->session, model, object);
	PG_RETURN_VOID();
}

/* What is not stored yet is left alone, as in the reference. */
static void
expire_visit(Object *object, void *arg)
{
	if (object->top->state != OBJECT_PERSISTENT ||
		object->model_objects->key.association)
		return;
	object_expire(object);
}

PG_FUNCTION_INFO_V1(orm_expire_all);
Datum
orm_expire_all(PG_FUNCTION_ARGS)
{
	Session    *session = session_current_if_any();

	if (session != NULL)
		session_each_object(session, expire_visit, NULL);
	PG_RETURN_VOID();
}

static void
expunge_visit(Object *object, void *arg)
{
	object_expunge(object);
}

PG_FUNCTION_INFO_V1(orm_expunge_all);
Datum
orm_expunge_all(PG_FUNCTION_ARGS)
{
	Session    *session = session_current_if_any();

	if (session != NULL)
		session_each_object(session, expunge_visit, NULL);
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------------------
 * flush, and looking at the session
 * ------------------------------------------------------------------------
 */
PG_FUNCTION_INFO_V1(orm_flush);
Datum
orm_flush(PG_FUNCTION_ARGS)
{
	Session    *session = session_current_if_any();

	if (session == NULL || session->nunflushed == 0)
		PG_RETURN_INT64(0);
	session_require_writable("orm.flush()");
	PG_RETURN_INT64(session_flush(session, FLUSH_EXPLICIT));
}

PG_FUNCTION_INFO_V1(orm_is_modified);
Datum
orm_is_modified(PG_FUNCTION_ARGS)
{
	Object	   *object = object_in_session(fcinfo, call_model(fcinfo));

	PG_RETURN_BOOL(object != NULL && object_is_modified(object));
}

static const char *
state_text(ObjectVersion *version)
{
	if (version->state == OBJECT_PENDING)
		return "new";
	if (version->marked_deleted)
		return "deleted";
	if (version->changed != NULL)
		return "dirty";
	return version->stored != NULL ? "persistent" : "expired";
}

/*
 * What the view shows of an object.  All of it is noted before any of it is
 * put out, since a cast to json may be anybody's function.
 */
typedef struct SessionObject
{
	const char *session;
	const char *class_name;
	Datum		key_row;		/* 0 without a key */
	const char *state;
	bool		modified;
} SessionObject;

/* {"id": 1}: the key columns of an object by name. */
static Datum
identity_document(Datum key_row)
{
	Datum		json = DirectFunctionCall1(row_to_json, key_row);

	json = DirectFunctionCall1(json_strip_nulls, json);
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(TextDatumGetCString(json)));
}

static void
session_objects_visit(Object *object, void *arg)
{
	List	  **noted = arg;
	Model	   *model = object->model_objects->key.association ? NULL :
	model_by_relid(object->model_objects->key.relid, true);
	SessionObject *note;

	if (model == NULL)
		return;
	(void) model_objects(object->session, model);
	if (object->top->state == OBJECT_DELETED ||
		object->top->state == OBJECT_GONE)
		return;
	note = palloc(sizeof(SessionObject));
	note->session = session_name(object->session);
	note->class_name = model->class_name;
	note->key_row = object_key(object) == NULL ? (Datum) 0 :
		row_of_key(model, object_key(object));
	note->state = state_text(object->top);
	note->modified = object_is_modified(object);
	*noted = lappend(*noted, note);
}

static void
session_objects_of(Session *session, void *arg)
{
	session_each_object(session, session_objects_visit, arg);
}

PG_FUNCTION_INFO_V1(orm_session_objects);
Datum
orm_session_objects(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *noted = NIL;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	sessions_each(session_objects_of, &noted);
	foreach(cell, noted)
	{
		SessionObject *note = lfirst(cell);
		Datum		values[5];
		bool		nulls[5] = {0};

		values[0] = CStringGetTextDatum(note->session);
		values[1] = CStringGetTextDatum(note->class_name);
		nulls[2] = note->key_row == (Datum) 0;
		if (!nulls[2])
			values[2] = identity_document(note->key_row);
		values[3] = CStringGetTextDatum(note->state);
		values[4] = BoolGetDatum(note->modified);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/*-------------------------------------------------------------------------
 *
 * saving.c
 *	  Writing documents: orm.save, and what the triggers of ORM views do.
 *
 * Documents are taken apart by their selection (parts.c), and what is stored
 * of them is read (prefetch.c); their objects go to the session's unit of
 * work (save_object.c), and one flush writes it all.
 *
 * Everything is allocated in the caller's context.  Locks are those of the
 * statements, and of the check of etags (lock.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "document/save_object.h"
#include "session/graph.h"

/* Each _etag in a document must be that of what is stored. */
static void
check_etags(SaveContext *context, DocumentReaders *readers,
			const ForeignKeyValues *known)
{
	int			n = 0;
	SavedNode **nodes = palloc(list_length(context->nodes) *
							   sizeof(SavedNode *));
	Datum	  **keys = palloc(list_length(context->nodes) * sizeof(Datum *));
	char	  **etags = palloc(list_length(context->nodes) * sizeof(char *));
	ListCell   *cell;

	foreach(cell, context->nodes)
	{
		SavedNode  *node = lfirst(cell);
		const ForeignKeyValues *key_columns = known;
		Datum		row;

		if (node->parts.etag == NULL)
			continue;
		keys[n] = saved_key(node, &key_columns, KNOWN_KEY, &row);
		if (keys[n] == NULL)
			continue;
		nodes[n] = node;
		etags[n++] = node->parts.etag;
	}
	if (n == 0)
		return;
	context->mode = LOAD_REFRESH;
	n = documents_check_etags(readers, n, keys, etags);
	if (n < 0)
		return;
	context->node = nodes[n];
	report_stale_document(context->root->model, keys[n]);
}

static void
take_apart(SaveContext *context, List *docs, bool many,
		   const ForeignKeyValues *known)
{
	List	   *nodes = NIL;
	ListCell   *cell;

	foreach(cell, docs)
	{
		SavedNode  *node = document_tree(context, context->root, lfirst(cell),
										 many ? foreach_current_index(cell) :
										 -1);

		if (node->key == NULL && known != NULL)
			node->key = graph_document_key(context->root->model,
										   node->parts.columns, known,
										   &node->row);
		nodes = lappend(nodes, node);
	}
	context->nodes = nodes;
	context->node = NULL;
	context->entry = NULL;
}

/* The keys of what was saved, in the order of the documents. */
static Datum **
saved_keys(Model *model, List *rows)
{
	Datum	  **keys = palloc(Max(list_length(rows), 1) * sizeof(Datum *));
	ListCell   *cell;

	foreach(cell, rows)
	{
		Datum	   *key = palloc(model->nkeys * sizeof(Datum));
		Datum		row = PointerGetDatum(lfirst(cell));

		if (!model_key_of_row(model, DatumGetHeapTupleHeader(row), key))
			elog(ERROR, "a saved document has no key");
		keys[foreach_current_index(cell)] = key;
	}
	return keys;
}

Datum **
documents_save(Session *session, DocumentReaders *readers, List *docs,
			   bool many, const ForeignKeyValues *key_columns, SaveMode mode,
			   LoadMode load)
{
	SaveContext context = {
		.session = session,
		.root = readers->selection,
		.memory = CurrentMemoryContext,
		.mode = load
	};
	ErrorContextCallback callback;
	List	   *rows = NIL;
	ListCell   *cell;

	session_autoflush(session);
	callback.callback = place_error_context;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	take_apart(&context, docs, many, key_columns);
	if (mode != SAVE_INSERT)
		check_etags(&context, readers, key_columns);
	session_hold(session);
	documents_prefetch(&context);
	foreach(cell, context.nodes)
		rows = lappend(rows,
					   DatumGetPointer(save_object(&context, lfirst(cell),
												   key_columns, KNOWN_KEY,
												   mode)));
	session_flush(session, FLUSH_DOCUMENT);
	session_release(session);
	error_context_stack = callback.previous;
	return saved_keys(readers->model, rows);
}

/* Deletes what the selection says is deleted with its owner. */
static void
delete_members(SaveContext *context, Selection *selection, Datum row)
{
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);
		List	   *loaded;
		ListCell   *member;

		if (field->kind != FIELD_RELATIONSHIP ||
			field->relationship->direction == RELATIONSHIP_MANY_TO_ONE ||
			field->relationship->viewonly ||
			!selection_allows(context->root, field->child, ALLOW_DELETE))
			continue;
		loaded = collections_load(context->session, selection->model, 1, &row,
								  field->relationship, context->mode,
								  &context->at)[0];
		foreach(member, collection_members_of(context->session,
											  selection->model, row,
											  field->relationship, loaded))
		{
			Model	   *target = field->child->model;
			Datum		member_row = PointerGetDatum(lfirst(member));

			delete_members(context, field->child, member_row);
			session_delete(target,
						   session_object(context->session, target,
										  DatumGetHeapTupleHeader(member_row)));
		}
	}
}

void
document_delete(Session *session, DocumentReaders *readers, Datum *key,
				char *etag)
{
	SaveContext context = {
		.session = session,
		.root = readers->selection,
		.mode = LOAD_COMPARE
	};
	Model	   *model = readers->model;
	Datum		row = row_of_key(model, key);

	require_allowed(&context, context.root, ALLOW_DELETE, "delete");
	session_autoflush(session);
	if (etag != NULL)
	{
		bool		found;

		if (documents_check_etags(readers, 1, &key, &etag) >= 0)
			report_stale_document(model, key);
		context.mode = LOAD_REFRESH;
		session_load_by_keys(session, model, 1, &key, LOAD_REFRESH, &found,
							 &context.at);
	}
	row = row_from_tuple(model,
						 object_current_row(session_object(session, model,
														   DatumGetHeapTupleHeader(row))));
	delete_members(&context, context.root, row);
	session_delete(model, session_object(session, model,
										 DatumGetHeapTupleHeader(row)));
	session_flush(session, FLUSH_DOCUMENT);
}

/*-------------------------------------------------------------------------
 *
 * prefetch.c
 *	  Reading what is stored of all that documents name, before they are
 *	  written: by level and model, so that the number of statements does not
 *	  grow with the number of documents.
 *
 * Documents are compared with what is stored now, not with what the session
 * loaded some time ago, so that is read again and compared: see LOAD_COMPARE.
 *
 * It is no more than a help otherwise: what is not found here (because its
 * key is not known before its owner is written, for one) is looked up when
 * its turn comes.  Objects are taken into the session, which is held
 * meanwhile; lists are in the memory of the call.  No locks but those of the
 * statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "document/parts.h"
#include "document/saving.h"
#include "session/graph.h"

/* The node's object as the session has it, if that is sure, or NULL. */
static Object *
node_object(SaveContext *context, SavedNode *node)
{
	Model	   *model = node->selection->model;
	Object	   *object;

	if (node->key == NULL)
		return NULL;
	object = session_find(context->session, model, node->key);
	if (object == NULL || object->top->state == OBJECT_DELETED)
		return NULL;
	if (object->top->state != OBJECT_PENDING && !node->is_looked_up &&
		!access_memory_suffices(model))
		return NULL;
	return object_current_row(object) != NULL ? object : NULL;
}

/* ------------------------------------------------------------------------
 * keys
 * ------------------------------------------------------------------------
 */

/* The row of a node's owner, as stored or as its document has it, or 0. */
static Datum
owner_row(SaveContext *context, SavedNode *owner)
{
	Object	   *object = node_object(context, owner);

	if (object != NULL)
		return row_from_tuple(owner->selection->model,
							  object_current_row(object));
	return owner->key != NULL ? owner->row : (Datum) 0;
}

/* The key that a node without one of its own has by its owner. */
static void
node_take_key_of_owner(SaveContext *context, SavedNode *node)
{
	Relationship *relationship = node->entry->field->relationship;
	Model	   *owner = node->parent->selection->model;
	Model	   *model = node->selection->model;
	ForeignKeyValues known;
	Datum		row;

	if (relationship->direction == RELATIONSHIP_MANY_TO_MANY ||
		(relationship->direction == RELATIONSHIP_MANY_TO_ONE &&
		 !saved_node_takes_known_key(node)))
		return;
	row = owner_row(context, node->parent);
	if (row == (Datum) 0)
		return;
	known = foreign_key_values(owner, row, relationship->local_attnums, model,
							   relationship->remote_attnums,
							   relationship->nlocal);
	for (int i = 0; i < known.n; i++)
	{
		if (known.nulls[i])
			return;
	}
	node->key = graph_document_key(model, node->parts.columns, &known,
								   &node->row);
}

/* ------------------------------------------------------------------------
 * reading
 * ------------------------------------------------------------------------
 */

/* Is what the session has of the node all that there is to be known? */
static bool
is_known(SaveContext *context, SavedNode *node)
{
	Object	   *object = node_object(context, node);

	if (node->is_looked_up)
		return true;
	if (context->mode == LOAD_REFRESH || object == NULL)
		return false;
	return context->mode == LOAD_MISSING || !object_may_be_outdated(object);
}

/* Looks up those of the nodes, which are of one model, that have a key. */
static void
look_up(SaveContext *context, Model *model, List *nodes)
{
	int			n = 0;
	Datum	  **keys = palloc(list_length(nodes) * sizeof(Datum *));
	SavedNode **wanted = palloc(list_length(nodes) * sizeof(SavedNode *));
	bool	   *found;
	ListCell   *cell;

	foreach(cell, nodes)
	{
		SavedNode  *node = lfirst(cell);

		if (node->key == NULL && node->parent != NULL)
			node_take_key_of_owner(context, node);
		if (node->key == NULL || is_known(context, node))
			continue;
		keys[n] = node->key;
		wanted[n++] = node;
	}
	if (n == 0)
		return;
	found = palloc0(n * sizeof(bool));
	context->reading = wanted;
	context->entry = NULL;
	session_load_by_keys(context->session, model, n, keys, context->mode,
						 found, &context->at);
	context->reading = NULL;
	for (int i = 0; i < n; i++)
	{
		wanted[i]->is_looked_up = true;
		wanted[i]->exists = found[i];
	}
}

/* Of members that were read, those that the document names are known. */
static void
note_members(SavedRelationship *entry)
{
	MemberSet  *members = member_set_create(entry->field->child->model,
											entry->before);
	ListCell   *cell;

	foreach(cell, entry->nodes)
	{
		SavedNode  *node = lfirst(cell);

		if (node->key != NULL && member_set_has(members, node->row))
			node->is_looked_up = node->exists = true;
	}
}

/* Reads the members of all collections of one field. */
static void
read_members(SaveContext *context, Model *model, SelectionField *field,
			 List *nodes, List *entries)
{
	int			n = 0;
	Datum	   *owners = palloc(list_length(nodes) * sizeof(Datum));
	SavedRelationship **wanted = palloc(list_length(nodes) *
										sizeof(SavedRelationship *));
	SavedNode **owner_nodes = palloc(list_length(nodes) *
									 sizeof(SavedNode *));
	LoadMode	mode = context->mode;
	List	  **members;
	ListCell   *node_cell;
	ListCell   *entry_cell;

	forboth(node_cell, nodes, entry_cell, entries)
	{
		Object	   *owner = node_object(context, lfirst(node_cell));

		if (owner == NULL || owner->top->state == OBJECT_PENDING)
			continue;
		owner_nodes[n] = lfirst(node_cell);
		owners[n] = row_from_tuple(model, object_current_row(owner));
		wanted[n++] = lfirst(entry_cell);
	}
	if (n == 0)
		return;
	/* none of them are taken away, so that they need not be compared */
	if (mode == LOAD_COMPARE && selection_field_is_partial(field))
		mode = LOAD_MISSING;
	context->reading = owner_nodes;
	context->entry = wanted[0];
	members = collections_load(context->session, model, n, owners,
							   field->relationship, mode, &context->at);
	context->reading = NULL;
	for (int i = 0; i < n; i++)
	{
		wanted[i]->is_read = true;
		wanted[i]->before = members[i];
	}
	/* the keys of members may have a part that is the owner's */
	foreach(entry_cell, entries)
	{
		SavedRelationship *entry = lfirst(entry_cell);

		foreach(node_cell, entry->nodes)
		{
			SavedNode  *node = lfirst(node_cell);

			if (node->key == NULL)
				node_take_key_of_owner(context, node);
		}
		if (entry->is_read && mode == context->mode)
			note_members(entry);
	}
}

/* ------------------------------------------------------------------------
 * levels
 * ------------------------------------------------------------------------
 */

/* The nodes of one level of the selection. */
typedef struct NodeGroup
{
	Selection  *selection;
	List	   *nodes;
	bool		is_looked_up;
} NodeGroup;

static List *
add_group(List *groups, Selection *selection, List *nodes)
{
	NodeGroup  *group = palloc0(sizeof(NodeGroup));

	group->selection = selection;
	group->nodes = nodes;
	return lappend(groups, group);
}

/* Looks up the nodes of several groups, those of one model together. */
static void
look_up_groups(SaveContext *context, List *groups)
{
	ListCell   *cell;

	foreach(cell, groups)
	{
		NodeGroup  *group = lfirst(cell);
		Model	   *model = group->selection->model;
		List	   *nodes = NIL;
		ListCell   *other;

		if (group->is_looked_up)
			continue;
		foreach(other, groups)
		{
			NodeGroup  *same = lfirst(other);

			if (same->selection->model != model)
				continue;
			nodes = list_concat(nodes, same->nodes);
			same->is_looked_up = true;
		}
		look_up(context, model, nodes);
	}
}

/* Reads the members of a field; returns the groups with its nodes. */
static List *
prefetch_field(SaveContext *context, NodeGroup *group, SelectionField *field,
			   List *groups)
{
	List	   *owners = NIL;
	List	   *entries = NIL;
	List	   *children = NIL;
	ListCell   *cell;

	foreach(cell, group->nodes)
	{
		SavedNode  *node = lfirst(cell);
		ListCell   *entry_cell;

		foreach(entry_cell, node->parts.relationships)
		{
			SavedRelationship *entry = lfirst(entry_cell);

			if (entry->field != field)
				continue;
			owners = lappend(owners, node);
			entries = lappend(entries, entry);
			children = list_concat(children, entry->nodes);
		}
	}
	if (owners == NIL || field->relationship->viewonly)
		return groups;
	if (field->relationship->direction != RELATIONSHIP_MANY_TO_ONE)
		read_members(context, group->selection->model, field, owners, entries);
	return children == NIL ? groups :
		add_group(groups, field->child, children);
}

/* The groups below, with the members of collections read. */
static List *
groups_below(SaveContext *context, List *groups)
{
	List	   *below = NIL;
	ListCell   *cell;

	foreach(cell, groups)
	{
		NodeGroup  *group = lfirst(cell);
		ListCell   *field_cell;

		foreach(field_cell, group->selection->fields)
		{
			SelectionField *field = lfirst(field_cell);

			if (field->kind == FIELD_RELATIONSHIP)
				below = prefetch_field(context, group, field, below);
		}
	}
	return below;
}

void
documents_prefetch(SaveContext *context)
{
	List	   *groups = add_group(NIL, context->root, context->nodes);

	while (groups != NIL)
	{
		look_up_groups(context, groups);
		groups = groups_below(context, groups);
	}
	context->node = NULL;
	context->entry = NULL;
}

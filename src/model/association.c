/*-------------------------------------------------------------------------
 *
 * association.c
 *	  The secondary table of a many-to-many relationship, seen as a model of
 *	  links.
 *
 * It is built when first asked for, in the memory of the relationship's own
 * model, and is invalid and goes away together with that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "model/internal.h"

/* The link columns in column order, each once. */
static Bitmapset *
link_columns(Relationship *relationship)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < relationship->nlocal; i++)
		columns = bms_add_member(columns, relationship->secondary_local[i]);
	for (int i = 0; i < relationship->nremote; i++)
		columns = bms_add_member(columns, relationship->secondary_remote[i]);
	return columns;
}

static void
fill_link_key(Model *model, Bitmapset *columns)
{
	int			attnum = -1;

	model->keys = MemoryContextAllocZero(model->context,
										 bms_num_members(columns) *
										 sizeof(ModelKeyColumn));
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		model_fill_key_column(&model->keys[model->nkeys++], model->tupdesc,
							  attnum, InvalidOid, model->context);
}

Model *
relationship_association(Relationship *relationship)
{
	MemoryContext parent = GetMemoryChunkContext(relationship);
	MemoryContext context;
	Relation	relation;
	Model	   *model;

	if (relationship->association != NULL)
		return relationship->association;

	relation = relation_open_existing(relationship->secondary);
	context = AllocSetContextCreate(CurrentMemoryContext,
									"pg_orm association model",
									ALLOCSET_SMALL_SIZES);
	model = MemoryContextAllocZero(context, sizeof(Model));
	model->context = context;
	model_describe_relation(model, relation);
	model->class_name = MemoryContextStrdup(context,
											RelationGetRelationName(relation));
	model->association = true;
	model->valid = true;
	fill_link_key(model, link_columns(relationship));
	relation_close(relation, NoLock);
	MemoryContextSetParent(context, parent);
	relationship->association = model;
	return model;
}

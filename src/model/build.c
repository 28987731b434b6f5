/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Building a Model from the config tables and PostgreSQL's catalogs.
 *
 * A Model and all it points to live in a memory context of their own below
 * the caller's, which the cache moves to itself when the Model is complete;
 * an error before that leaves nothing behind.
 *
 * Locks: the relation is locked in AccessShareLock while its model is built
 * and no longer; who relies on a model's columns holds a lock of his own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "model/internal.h"

/* ------------------------------------------------------------------------
 * building a model: its key
 * ------------------------------------------------------------------------
 */

/* Equality of the index that enforces the key, or InvalidOid. */
static Oid
index_equality(Oid index, int column)
{
	Oid			opclass = get_index_column_opclass(index, column);
	Oid			opcintype;

	if (!OidIsValid(opclass))
		return InvalidOid;
	opcintype = get_opclass_input_type(opclass);
	return get_opfamily_member(get_opclass_family(opclass), opcintype,
							   opcintype, BTEqualStrategyNumber);
}

/* Is it the equality of integers, or of what is one inside? */
static bool
is_integer_equality(Oid function)
{
	switch (function)
	{
		case F_INT2EQ:
		case F_INT4EQ:
		case F_INT8EQ:
		case F_OIDEQ:
		case F_DATE_EQ:
		case F_TIMESTAMP_EQ:
		case F_TIMESTAMPTZ_EQ:
			return true;
		default:
			return false;
	}
}

void
model_fill_key_column(ModelKeyColumn *key, TupleDesc tupdesc,
					  AttrNumber attnum, Oid eq_operator, MemoryContext mcxt)
{
	Form_pg_attribute att = TupleDescAttr(tupdesc, attnum - 1);
	Oid			left;
	Oid			right;

	if (!OidIsValid(eq_operator))
		eq_operator = lookup_type_cache(att->atttypid,
										TYPECACHE_EQ_OPR)->eq_opr;
	if (!OidIsValid(eq_operator))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("key column \"%s\" has type %s, which has no equality operator",
						NameStr(att->attname),
						format_type_be(att->atttypid))));
	key->attnum = attnum;
	key->typid = att->atttypid;
	key->typmod = att->atttypmod;
	key->collation = att->attcollation;
	key->typlen = att->attlen;
	key->typbyval = att->attbyval;
	key->eq_operator = eq_operator;
	fmgr_info_cxt(get_opcode(eq_operator), &key->equal, mcxt);
	if (op_hashjoinable(eq_operator, att->atttypid) &&
		get_op_hash_functions(eq_operator, &left, &right))
		fmgr_info_cxt(left, &key->hash, mcxt);
	key->is_integer = key->typbyval && is_integer_equality(get_opcode(eq_operator));
}

/* The primary key constraint's columns and index; false if there is none. */
static bool
primary_key_constraint(Oid relid, AttrNumber **attnums, int *nattnums,
					   Oid *index)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, ConstraintRelidTypidNameIndexId, true,
							  NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);
		ArrayType  *conkey;
		bool		isnull;

		if (con->contype != CONSTRAINT_PRIMARY)
			continue;
		conkey = DatumGetArrayTypePCopy(heap_getattr(tuple,
													 Anum_pg_constraint_conkey,
													 RelationGetDescr(rel),
													 &isnull));
		*nattnums = ARR_DIMS(conkey)[0];
		*attnums = (AttrNumber *) ARR_DATA_PTR(conkey);
		*index = con->conindid;
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

List *
primary_key_columns(Oid relid)
{
	AttrNumber *attnums;
	int			n;
	Oid			index;
	List	   *names = NIL;

	if (!primary_key_constraint(relid, &attnums, &n, &index))
		return NIL;
	for (int i = 0; i < n; i++)
		names = lappend(names, get_attname(relid, attnums[i], false));
	return names;
}

/*
 * The constraint is the truth; the columns that were recorded when the
 * relation was mapped serve relations that cannot have one, and tables in
 * the middle of a restore.
 */
static void
build_keys(Model *model, ModelDef *def)
{
	AttrNumber *attnums;
	int			n;
	Oid			index = InvalidOid;

	if (!primary_key_constraint(model->relid, &attnums, &n, &index))
	{
		attnums = attnums_of_names(model->relid, def->primary_key);
		n = attnums ? list_length(def->primary_key) : 0;
	}
	model->nkeys = n;
	model->keys = MemoryContextAllocZero(model->context,
										 sizeof(ModelKeyColumn) *
										 Max(n, 1));
	for (int i = 0; i < n; i++)
		model_fill_key_column(&model->keys[i], model->tupdesc, attnums[i],
							  OidIsValid(index) ?
							  index_equality(index, i + 1) : InvalidOid,
							  model->context);
}

/* ------------------------------------------------------------------------
 * building a model: its relationships
 * ------------------------------------------------------------------------
 */

static AttrNumber *
copy_attnums(MemoryContext mcxt, const AttrNumber *attnums, int n)
{
	AttrNumber *copy = MemoryContextAlloc(mcxt, sizeof(AttrNumber) * n);

	memcpy(copy, attnums, sizeof(AttrNumber) * n);
	return copy;
}

static char *
copy_string(MemoryContext mcxt, const char *string)
{
	return string ? MemoryContextStrdup(mcxt, string) : NULL;
}

/* The side of the row that declares the relationship. */
static Relationship *
forward_relationship(MemoryContext mcxt, RelationshipDef *def)
{
	Relationship *result = MemoryContextAllocZero(mcxt,
												  sizeof(Relationship));

	result->name = copy_string(mcxt, def->name);
	result->backref = copy_string(mcxt, def->backref);
	result->direction = def->direction;
	result->uselist = def->direction != RELATIONSHIP_MANY_TO_ONE &&
		(!def->uselist_given || def->uselist);
	result->viewonly = def->viewonly;
	result->passive_deletes = def->passive_deletes;
	result->cascade = cascade_bits(def->cascade, def->viewonly);
	result->order_by = copy_string(mcxt, def->order_by);
	return result;
}

/*
 * The backref has the defaults of a relationship.  Where the declaring side
 * is many-to-one, which is never a collection, uselist => false speaks of
 * the other side: one-to-one.
 */
static Relationship *
backward_relationship(MemoryContext mcxt, RelationshipDef *def)
{
	Relationship *result = MemoryContextAllocZero(mcxt,
												  sizeof(Relationship));

	result->name = copy_string(mcxt, def->backref);
	result->backref = copy_string(mcxt, def->name);
	result->viewonly = def->viewonly;
	result->cascade = cascade_bits(NULL, def->viewonly);
	switch (def->direction)
	{
		case RELATIONSHIP_MANY_TO_ONE:
			result->direction = RELATIONSHIP_ONE_TO_MANY;
			result->uselist = !def->uselist_given || def->uselist;
			break;
		case RELATIONSHIP_ONE_TO_MANY:
			result->direction = RELATIONSHIP_MANY_TO_ONE;
			break;
		case RELATIONSHIP_MANY_TO_MANY:
			result->direction = RELATIONSHIP_MANY_TO_MANY;
			result->uselist = true;
			break;
	}
	return result;
}

/*
 * Resolves the columns' names as seen from one side.  Returns false if one
 * is missing: a dangling relationship is as if it were not there.
 */
static bool
resolve_columns(Relationship *relationship, MemoryContext mcxt,
				RelationshipDef *def, bool forward)
{
	List	   *local = forward ? def->local_columns : def->remote_columns;
	List	   *remote = forward ? def->remote_columns : def->local_columns;
	List	   *through_local = forward ? def->secondary_local :
		def->secondary_remote;
	List	   *through_remote = forward ? def->secondary_remote :
		def->secondary_local;
	AttrNumber *attnums;

	relationship->nlocal = list_length(local);
	relationship->nremote = list_length(remote);
	if (!(attnums = attnums_of_names(relationship->owner, local)))
		return false;
	relationship->local_attnums = copy_attnums(mcxt, attnums,
											   relationship->nlocal);
	if (!(attnums = attnums_of_names(relationship->target, remote)))
		return false;
	relationship->remote_attnums = copy_attnums(mcxt, attnums,
												relationship->nremote);
	if (relationship->direction != RELATIONSHIP_MANY_TO_MANY)
		return true;

	relationship->secondary = def->secondary_relation;
	if (!(attnums = attnums_of_names(relationship->secondary,
									 through_local)))
		return false;
	relationship->secondary_local = copy_attnums(mcxt, attnums,
												 relationship->nlocal);
	if (!(attnums = attnums_of_names(relationship->secondary,
									 through_remote)))
		return false;
	relationship->secondary_remote = copy_attnums(mcxt, attnums,
												  relationship->nremote);
	return true;
}

/* Appends one direction of a row to the list, if it can be resolved. */
static List *
add_relationship(List *list, Model *model, RelationshipDef *def,
				 bool forward)
{
	Relationship *relationship;
	ModelDef   *other;

	if (!def->bound || (!forward && def->backref == NULL))
		return list;
	other = model_def_by_class(forward ? def->target : def->class_name);
	if (other == NULL || !OidIsValid(other->relid))
		return list;

	relationship = forward ? forward_relationship(model->context, def) :
		backward_relationship(model->context, def);
	relationship->owner = model->relid;
	relationship->target = other->relid;
	metadata_watch(other->relid);
	metadata_watch(def->secondary_relation);
	if (!resolve_columns(relationship, model->context, def, forward))
		return list;
	return lappend(list, relationship);
}

static void
build_relationships(Model *model, ModelDef *def)
{
	List	   *list = NIL;
	ListCell   *lc;
	int			n = 0;

	foreach(lc, relationship_defs_of_class(def->class_name))
		list = add_relationship(list, model, lfirst(lc), true);
	foreach(lc, relationship_defs_to_class(def->class_name))
		list = add_relationship(list, model, lfirst(lc), false);

	model->relationships = MemoryContextAlloc(model->context,
											  sizeof(Relationship *) *
											  Max(list_length(list), 1));
	foreach(lc, list)
		model->relationships[n++] = lfirst(lc);
	model->nrelationships = n;
}

/* ------------------------------------------------------------------------
 * building a model
 * ------------------------------------------------------------------------
 */

/* A memory context's reset callback: gives back the counted reference. */
static void
release_tupdesc(void *arg)
{
	TupleDesc	tupdesc = (TupleDesc) arg;

	if (--tupdesc->tdrefcount == 0)
		FreeTupleDesc(tupdesc);
}

/*
 * The reference is counted as the type cache counts its own: without a
 * resource owner, since it outlives the transaction.
 */
static void
hold_tupdesc(Model *model)
{
	MemoryContextCallback *release =
		MemoryContextAlloc(model->context, sizeof(MemoryContextCallback));

	release->func = release_tupdesc;
	release->arg = model->tupdesc;
	MemoryContextRegisterResetCallback(model->context, release);
	Assert(model->tupdesc->tdrefcount > 0);
	model->tupdesc->tdrefcount++;
}

void
model_describe_relation(Model *model, Relation rel)
{
	model->relid = RelationGetRelid(rel);
	model->relkind = rel->rd_rel->relkind;
	model->rowtype = rel->rd_rel->reltype;
	model->array_type = get_array_type(model->rowtype);
	model->relation_name =
		MemoryContextStrdup(model->context, relation_sql(model->relid));
	model->tupdesc = lookup_type_cache(model->rowtype,
									   TYPECACHE_TUPDESC)->tupDesc;
	hold_tupdesc(model);
}

List *
relation_parents(Oid relid)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *parents = NIL;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL,
							  1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		parents = lappend_oid(parents,
							  ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parents;
}

static void
build_identity(Model *model, Relation rel, ModelDef *def)
{
	MemoryContext old;

	model_describe_relation(model, rel);
	old = MemoryContextSwitchTo(model->context);
	model->parents = relation_parents(model->relid);
	MemoryContextSwitchTo(old);
	model->class_name = MemoryContextStrdup(model->context, def->class_name);
	if (def->version_column)
		model->version_attnum = get_attnum(model->relid,
										   def->version_column);
	if (model->version_attnum < 0)
		model->version_attnum = InvalidAttrNumber;
}

Model *
model_build(Oid relid)
{
	ModelDef   *def;
	Relation	rel;
	MemoryContext mcxt;
	Model	   *model;

	def = model_def_by_relation(relid);
	if (def == NULL || (rel = try_relation_open(relid,
												AccessShareLock)) == NULL)
		return NULL;
	mcxt = AllocSetContextCreate(CurrentMemoryContext, "pg_orm model",
								 ALLOCSET_SMALL_SIZES);
	model = MemoryContextAllocZero(mcxt, sizeof(Model));
	model->context = mcxt;
	build_identity(model, rel, def);
	MemoryContextSetIdentifier(mcxt, model->relation_name);
	build_keys(model, def);
	build_relationships(model, def);
	relation_close(rel, AccessShareLock);
	return model;
}

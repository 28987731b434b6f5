/*-------------------------------------------------------------------------
 *
 * metadata.c
 *	  The cache of models: finding a model, building it, forgetting it.
 *
 * Memory: one hash table by relation, in a child of CacheMemoryContext that
 * lives as long as the backend.  Each Model has a context of its own: built
 * below the caller's context, so that an error leaves nothing behind, and
 * moved into the cache when it is complete.  When a newer Model takes its
 * place it goes to the graveyard, which is emptied at the end of the
 * transaction, so that pointers which callers hold stay readable until then.
 *
 * Invalidation: one relcache callback and one syscache callback (for schema
 * names) set flags, move the generation, and tell the modules that asked for
 * it; they look nothing up.  The hash table also has entries for relations
 * that a model or the directory merely depends on, so that the callback can
 * tell what matters from the noise of temporary tables.  A change of a config
 * table invalidates everything.  A (sub)transaction that aborts replays its
 * invalidations, which is what drops entries built from uncommitted rows.
 *
 * Locks: a relation is locked in AccessShareLock while its model is built
 * and no longer; who relies on a model's columns holds a lock of his own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "parser/parse_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "model/internal.h"

/* What is known of a relation. */
typedef struct CacheEntry
{
	Oid			relid;			/* hash key, must be first */
	Model	   *model;			/* the newest; its valid flag counts */
	bool		unmapped;		/* known to have no model */
	bool		watched;		/* something depends on the relation */
} CacheEntry;

/* A class or a table as the directory lists it. */
typedef struct DirectoryEntry
{
	char	   *class_name;
	char	   *schema_name;	/* of the existing table, if there is one */
	char	   *table_name;
	Oid			relid;
} DirectoryEntry;

/* How often a model is built anew when something changes meanwhile. */
#define MAX_BUILD_ATTEMPTS 3

#define MAX_INVALIDATION_CALLBACKS 8

static MemoryContext cache_context = NULL;
static MemoryContext graveyard = NULL;
static HTAB *cache = NULL;

static MemoryContext directory_context = NULL;
static List *directory = NIL;
static bool directory_valid = false;

static uint64 generation = 1;
static ModelInvalidationCallback callbacks[MAX_INVALIDATION_CALLBACKS];
static int	ncallbacks = 0;

/* ------------------------------------------------------------------------
 * invalidation
 * ------------------------------------------------------------------------
 */

static void
invalidate_all(void)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	directory_valid = false;
	catalog_reset();
	generation++;
	if (cache == NULL)
		return;
	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		entry->unmapped = false;
		if (entry->model)
			entry->model->valid = false;
	}
}

static void
dispatch(Oid relid)
{
	for (int i = 0; i < ncallbacks; i++)
		callbacks[i] (relid);
}

/*
 * Models that depend on a changed relation otherwise than by being mapped to
 * it (targets and secondary tables) are found by looking at all of them.
 */
static void
invalidate_dependents(Oid relid)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		Model	   *model = entry->model;

		if (model == NULL || !model->valid)
			continue;
		for (int i = 0; i < model->nrelationships; i++)
			if (model->relationships[i]->target == relid ||
				model->relationships[i]->secondary == relid)
				model->valid = false;
	}
}

static void
relcache_callback(Datum arg, Oid relid)
{
	CacheEntry *entry;

	if (!OidIsValid(relid) || catalog_is_config(relid))
	{
		invalidate_all();
		dispatch(InvalidOid);
		return;
	}
	if (cache == NULL)
		return;
	entry = hash_search(cache, &relid, HASH_FIND, NULL);
	if (entry == NULL)
		return;
	entry->unmapped = false;
	if (entry->model == NULL && !entry->watched)
		return;
	if (entry->model)
		entry->model->valid = false;
	if (entry->watched)
		invalidate_dependents(relid);
	directory_valid = false;
	generation++;
	dispatch(relid);
}

static void
namespace_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate_all();
	dispatch(InvalidOid);
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			if (graveyard)
				MemoryContextDeleteChildren(graveyard);
			break;
		default:
			break;
	}
}

void
metadata_init(void)
{
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_callback,
								  (Datum) 0);
	RegisterXactCallback(xact_callback, NULL);
}

uint64
model_generation(void)
{
	return generation;
}

void
model_on_invalidation(ModelInvalidationCallback callback)
{
	if (ncallbacks >= MAX_INVALIDATION_CALLBACKS)
		elog(ERROR, "too many model invalidation callbacks");
	callbacks[ncallbacks++] = callback;
}

/* ------------------------------------------------------------------------
 * cache entries
 * ------------------------------------------------------------------------
 */

static void
create_cache(void)
{
	HASHCTL		ctl = {0};

	if (CacheMemoryContext == NULL)
		CreateCacheMemoryContext();
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(CacheMemoryContext,
											  "pg_orm models",
											  ALLOCSET_DEFAULT_SIZES);
	if (graveyard == NULL)
		graveyard = AllocSetContextCreate(cache_context,
										  "pg_orm replaced models",
										  ALLOCSET_SMALL_SIZES);
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CacheEntry);
	ctl.hcxt = cache_context;
	cache = hash_create("pg_orm models by relation", 64, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static CacheEntry *
cache_entry(Oid relid)
{
	CacheEntry *entry;
	bool		found;

	if (cache == NULL)
		create_cache();
	entry = hash_search(cache, &relid, HASH_ENTER, &found);
	if (!found)
	{
		entry->model = NULL;
		entry->unmapped = false;
		entry->watched = false;
	}
	return entry;
}

/* From now on changes of the relation are noticed. */
static void
watch(Oid relid)
{
	if (OidIsValid(relid))
		cache_entry(relid)->watched = true;
}

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

void
model_fill_key_column(ModelKeyColumn *key, TupleDesc tupdesc, AttrNumber attnum,
					  Oid eq_operator, MemoryContext mcxt)
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
	watch(other->relid);
	watch(def->secondary_relation);
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
		MemoryContextStrdup(model->context,
							quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
													   RelationGetRelationName(rel)));
	model->tupdesc = lookup_type_cache(model->rowtype,
									   TYPECACHE_TUPDESC)->tupDesc;
	hold_tupdesc(model);
}

static void
build_identity(Model *model, Relation rel, ModelDef *def)
{
	model_describe_relation(model, rel);
	model->class_name = MemoryContextStrdup(model->context, def->class_name);
	if (def->version_column)
		model->version_attnum = get_attnum(model->relid,
										   def->version_column);
	if (model->version_attnum < 0)
		model->version_attnum = InvalidAttrNumber;
}

/* Builds the model below the current context; NULL if there is none. */
static Model *
build_model(Oid relid)
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

/*
 * Builds until nothing changed meanwhile.  After some attempts the result is
 * taken as it is, marked invalid, so that the next look-up builds it anew:
 * that is what happens all the time under debug_discard_caches.
 */
static void
rebuild(CacheEntry *entry)
{
	MemoryContext temporary = AllocSetContextCreate(CurrentMemoryContext,
													"pg_orm model build",
													ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(temporary);
	Model	   *model;
	bool		was_watched = entry->watched;
	uint64		before;
	int			attempts = 0;

	/* makes the callback heed this relation from before the first look */
	entry->watched = true;
	do
	{
		before = generation;
		model = build_model(entry->relid);
	} while (before != generation && ++attempts < MAX_BUILD_ATTEMPTS);

	if (entry->model)
		MemoryContextSetParent(entry->model->context, graveyard);
	if (model)
	{
		model->valid = before == generation;
		MemoryContextSetParent(model->context, cache_context);
	}
	entry->model = model;
	entry->watched = was_watched;
	entry->unmapped = model == NULL && before == generation;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(temporary);
}

static Model *
cached_model(Oid relid)
{
	CacheEntry *entry = cache_entry(relid);

	if (entry->model != NULL && entry->model->valid)
		return entry->model;
	if (entry->unmapped)
		return NULL;
	rebuild(entry);
	return entry->model;
}

/* ------------------------------------------------------------------------
 * the directory: classes and tables by name
 * ------------------------------------------------------------------------
 */

static DirectoryEntry *
directory_entry(ModelDef *def)
{
	DirectoryEntry *entry = palloc0(sizeof(DirectoryEntry));
	char	   *table_name = NULL;

	entry->class_name = pstrdup(def->class_name);
	if (OidIsValid(def->relid))
		table_name = get_rel_name(def->relid);
	if (table_name)
	{
		entry->relid = def->relid;
		entry->table_name = table_name;
		entry->schema_name =
			get_namespace_name(get_rel_namespace(def->relid));
	}
	if (entry->schema_name == NULL)
	{
		entry->relid = InvalidOid;
		entry->table_name = pstrdup(def->table_name);
		entry->schema_name = pstrdup(def->schema_name);
	}
	return entry;
}

/* A config row whose table is gone is not listed. */
static List *
read_directory(void)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, model_defs())
	{
		ModelDef   *def = lfirst(lc);
		DirectoryEntry *entry;

		watch(def->relid);
		entry = directory_entry(def);
		if (OidIsValid(entry->relid) || !OidIsValid(def->relid))
			result = lappend(result, entry);
	}
	return result;
}

static List *
get_directory(void)
{
	MemoryContext mcxt;
	MemoryContext old;
	List	   *list;
	uint64		before;

	if (directory_valid)
		return directory;
	if (cache == NULL)
		create_cache();
	mcxt = AllocSetContextCreate(CurrentMemoryContext, "pg_orm directory",
								 ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(mcxt);
	before = generation;
	list = read_directory();
	MemoryContextSwitchTo(old);

	/* what is read under invalidations serves this call only */
	if (before != generation)
		return list;
	if (directory_context)
		MemoryContextDelete(directory_context);
	MemoryContextSetParent(mcxt, cache_context);
	directory_context = mcxt;
	directory = list;
	directory_valid = true;
	return directory;
}

/* "name", or "schema.name" with or without quotes. */
static bool
names_table(DirectoryEntry *entry, const char *name)
{
	return strcmp(entry->table_name, name) == 0 ||
		strcmp(psprintf("%s.%s", entry->schema_name, entry->table_name),
			   name) == 0 ||
		strcmp(quote_qualified_identifier(entry->schema_name,
										  entry->table_name), name) == 0;
}

static void
ambiguous_table(const char *name, List *found)
{
	StringInfoData candidates;
	ListCell   *lc;

	initStringInfo(&candidates);
	foreach(lc, found)
	{
		DirectoryEntry *entry = lfirst(lc);

		appendStringInfo(&candidates, "%s%s (class \"%s\")",
						 candidates.len ? ", " : "",
						 quote_qualified_identifier(entry->schema_name,
													entry->table_name),
						 entry->class_name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_FUNCTION),
			 errmsg("table name \"%s\" is ambiguous", name),
			 errdetail("It could be %s.", candidates.data)));
}

static DirectoryEntry *
directory_find(const char *name)
{
	List	   *entries = get_directory();
	List	   *found = NIL;
	ListCell   *lc;

	foreach(lc, entries)
	{
		DirectoryEntry *entry = lfirst(lc);

		if (strcmp(entry->class_name, name) == 0)
			return entry;
	}
	foreach(lc, entries)
		if (names_table(lfirst(lc), name))
			found = lappend(found, lfirst(lc));
	if (list_length(found) > 1)
		ambiguous_table(name, found);
	return found == NIL ? NULL : linitial(found);
}

/* ------------------------------------------------------------------------
 * look-ups
 * ------------------------------------------------------------------------
 */

/* A model whose key is gone cannot serve: its objects have no identity. */
static Model *
require_key(Model *model, bool missing_ok)
{
	if (model->nkeys > 0)
		return model;
	if (missing_ok)
		return NULL;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("relation %s of class \"%s\" has no primary key any more",
					model->relation_name, model->class_name)));
}

Model *
model_by_relid(Oid relid, bool missing_ok)
{
	Model	   *model = cached_model(relid);
	char	   *name;

	if (model != NULL)
		return require_key(model, missing_ok);
	if (missing_ok)
		return NULL;
	name = get_rel_name(relid);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 name ? errmsg("relation \"%s\" is not mapped", name) :
			 errmsg("relation with OID %u is not mapped", relid),
			 errhint("Use orm.map or orm.automap to map it.")));
}

Model *
model_by_rowtype(Oid typid, bool missing_ok)
{
	Oid			relid = typeidTypeRelid(getBaseType(typid));

	if (OidIsValid(relid) && get_rel_relkind(relid) != RELKIND_COMPOSITE_TYPE)
		return model_by_relid(relid, missing_ok);
	if (missing_ok)
		return NULL;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("type %s is not the row type of a mapped table",
					format_type_be(typid)),
			 errhint("Pass a row of a mapped table, or NULL::name_of_the_table.")));
}

static void
unknown_class(const char *name)
{
	List	   *names = NIL;
	ListCell   *lc;
	const char *nearest;

	foreach(lc, get_directory())
	{
		DirectoryEntry *entry = lfirst(lc);

		names = lappend(names, entry->class_name);
		names = lappend(names, entry->table_name);
	}
	nearest = nearest_name(name, names);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("class \"%s\" does not exist", name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("orm.models lists the classes.")));
}

Model *
model_by_class(const char *name, bool missing_ok)
{
	DirectoryEntry *entry = directory_find(name);

	if (entry != NULL && OidIsValid(entry->relid))
		return model_by_relid(entry->relid, missing_ok);
	if (missing_ok)
		return NULL;
	if (entry == NULL)
		unknown_class(name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the table of class \"%s\" does not exist",
					entry->class_name),
			 errhint("Use orm.create_all(%s) to make it.",
					 quote_literal_cstr(entry->schema_name))));
}

Model *
model_from_argument(FunctionCallInfo fcinfo, int argno)
{
	Oid			typid = get_fn_expr_argtype(fcinfo->flinfo, argno);

	if (!OidIsValid(typid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("could not determine the row type of argument %d",
						argno + 1)));
	return model_by_rowtype(typid, false);
}

List *
model_list(void)
{
	List	   *result = NIL;
	List	   *relids = NIL;
	ListCell   *lc;

	/* building a model may replace the directory */
	foreach(lc, get_directory())
	{
		DirectoryEntry *entry = lfirst(lc);

		if (OidIsValid(entry->relid))
			relids = lappend_oid(relids, entry->relid);
	}
	foreach(lc, relids)
	{
		Model	   *model = model_by_relid(lfirst_oid(lc), true);

		if (model)
			result = lappend(result, model);
	}
	return result;
}

static List *
column_names(Model *model)
{
	List	   *names = NIL;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(model->tupdesc, i);

		if (!att->attisdropped)
			names = lappend(names, NameStr(att->attname));
	}
	return names;
}

static List *
relationship_names(Model *model)
{
	List	   *names = NIL;

	for (int i = 0; i < model->nrelationships; i++)
		names = lappend(names, model->relationships[i]->name);
	return names;
}

Relationship *
model_relationship(Model *model, const char *name, bool missing_ok)
{
	const char *nearest;

	for (int i = 0; i < model->nrelationships; i++)
		if (strcmp(model->relationships[i]->name, name) == 0)
			return model->relationships[i];
	if (missing_ok)
		return NULL;
	nearest = nearest_name(name, relationship_names(model));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("class \"%s\" has no relationship \"%s\"",
					model->class_name, name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

AttrNumber
model_attnum(Model *model, const char *name, bool missing_ok)
{
	const char *nearest;

	for (int i = 0; i < model->tupdesc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(model->tupdesc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	if (missing_ok)
		return InvalidAttrNumber;
	nearest = nearest_name(name, list_concat(column_names(model),
											 relationship_names(model)));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("class \"%s\" has no column \"%s\"",
					model->class_name, name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

/* ------------------------------------------------------------------------
 * nearest names
 * ------------------------------------------------------------------------
 */

/* Limits as in PostgreSQL's own hints for misspelt columns. */
#define MAX_NAME_DISTANCE 3
#define MAX_NAME_BYTES 255

const char *
nearest_name(const char *name, List *candidates)
{
	const char *nearest = NULL;
	int			length = strlen(name);
	int			limit = Min(MAX_NAME_DISTANCE, length / 2);
	ListCell   *lc;

	if (length > MAX_NAME_BYTES)
		return NULL;
	foreach(lc, candidates)
	{
		const char *candidate = lfirst(lc);
		int			distance;

		if (pg_strcasecmp(candidate, name) == 0)
			return candidate;
		if (strlen(candidate) > MAX_NAME_BYTES || limit < 0)
			continue;
		distance = varstr_levenshtein_less_equal(name, length, candidate,
												 strlen(candidate),
												 1, 1, 1, limit, true);
		if (distance > limit)
			continue;
		nearest = candidate;
		limit = distance - 1;
	}
	return nearest;
}

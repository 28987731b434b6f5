/*-------------------------------------------------------------------------
 *
 * bind.c
 *	  Finding the foreign keys that a declared relationship means.
 *
 * The foreign keys decide the direction.  Where the tables have none (views,
 * foreign and distributed tables cannot) the columns named in foreign_keys
 * refer to the other side's primary key.
 *
 * Memory is the caller's context; nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "model/internal.h"

/* A foreign key between two relations, its columns by name. */
typedef struct ForeignKey
{
	char	   *name;			/* NULL if only foreign_keys says so */
	Oid			from;			/* has the columns */
	List	   *columns;		/* of char * */
	List	   *referenced;		/* of char * */
} ForeignKey;

/* A foreign key that could carry the relationship. */
typedef struct Candidate
{
	ForeignKey *key;
	RelationshipDirection direction;
} Candidate;

AttrNumber *
attnums_of_names(Oid relid, List *names)
{
	AttrNumber *attnums;
	ListCell   *lc;
	int			n = 0;

	if (names == NIL)
		return NULL;
	attnums = palloc(sizeof(AttrNumber) * list_length(names));
	foreach(lc, names)
	{
		attnums[n] = get_attnum(relid, lfirst(lc));
		if (attnums[n++] <= 0)
			return NULL;
	}
	return attnums;
}

/*
 * The parts of a dotted name.  They are taken as written, as every other name
 * in pg_orm's calls is; a part that contains a dot has to be quoted.
 */
List *
split_name(const char *name)
{
	List	   *parts = NIL;
	StringInfoData part;
	bool		quoted = false;

	initStringInfo(&part);
	for (const char *c = name; *c; c++)
	{
		if (*c == '"' && quoted && c[1] == '"')
			appendStringInfoChar(&part, *c++);
		else if (*c == '"')
			quoted = !quoted;
		else if (*c == '.' && !quoted)
		{
			parts = lappend(parts, pstrdup(part.data));
			resetStringInfo(&part);
		}
		else
			appendStringInfoChar(&part, *c);
	}
	return lappend(parts, part.data);
}

/* ------------------------------------------------------------------------
 * foreign keys
 * ------------------------------------------------------------------------
 */

List *
constraint_columns(Oid relid, HeapTuple tuple, TupleDesc tupdesc,
				   int column)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, column, tupdesc, &isnull);
	ArrayType  *array = DatumGetArrayTypeP(datum);
	int16	   *attnums = (int16 *) ARR_DATA_PTR(array);
	List	   *names = NIL;

	for (int i = 0; i < ARR_DIMS(array)[0]; i++)
		names = lappend(names, get_attname(relid, attnums[i], false));
	return names;
}

/* The foreign-key constraints of one relation that reference another. */
static List *
foreign_keys_between(Oid from, Oid to)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(rel);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(from));
	scan = systable_beginscan(rel, ConstraintRelidTypidNameIndexId, true,
							  NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);
		ForeignKey *fk;

		if (con->contype != CONSTRAINT_FOREIGN || con->confrelid != to)
			continue;
		fk = palloc0(sizeof(ForeignKey));
		fk->name = pstrdup(NameStr(con->conname));
		fk->from = from;
		fk->columns = constraint_columns(from, tuple, tupdesc,
									  Anum_pg_constraint_conkey);
		fk->referenced = constraint_columns(to, tuple, tupdesc,
										 Anum_pg_constraint_confkey);
		result = lappend(result, fk);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

bool
names_contain(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

static bool
same_columns(List *a, List *b)
{
	ListCell   *lc;

	if (list_length(a) != list_length(b))
		return false;
	foreach(lc, a)
		if (!names_contain(b, lfirst(lc)))
			return false;
	return true;
}

/*
 * Does a list as the user wrote it (columns, perhaps with their table's
 * name) name exactly these columns of the relation?
 */
static bool
names_columns(List *written, Oid relid, List *columns)
{
	char	   *relname = get_rel_name(relid);
	ListCell   *lc;

	if (list_length(written) != list_length(columns))
		return false;
	foreach(lc, columns)
		if (!names_contain(written, lfirst(lc)) &&
			!names_contain(written, psprintf("%s.%s", relname,
										(char *) lfirst(lc))))
			return false;
	return true;
}

/* The written columns without their table; NIL if one is not of relid. */
static List *
written_columns(List *written, Oid relid)
{
	char	   *prefix = psprintf("%s.", get_rel_name(relid));
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, written)
	{
		char	   *name = lfirst(lc);

		if (get_attnum(relid, name) <= 0 &&
			strncmp(name, prefix, strlen(prefix)) == 0)
			name += strlen(prefix);
		if (get_attnum(relid, name) <= 0)
			return NIL;
		result = lappend(result, name);
	}
	return result;
}

static char *
comma_list(List *names)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, names)
		appendStringInfo(&buf, "%s%s", buf.len ? ", " : "",
						 (char *) lfirst(lc));
	return buf.data;
}

static char *
describe_foreign_key(ForeignKey *fk)
{
	return psprintf("%s (%s) of %s", fk->name ? fk->name : "columns",
					comma_list(fk->columns), get_rel_name(fk->from));
}

static void
ambiguous(RelationshipDef *def, List *candidates, const char *hint)
{
	List	   *texts = NIL;
	ListCell   *lc;

	foreach(lc, candidates)
		texts = lappend(texts, describe_foreign_key(lfirst(lc)));
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_FUNCTION),
			 errmsg("relationship \"%s\" of class \"%s\" is ambiguous",
					def->name, def->class_name),
			 errdetail("It could go by the foreign keys %s.",
					   comma_list(texts)),
			 errhint("%s", hint)));
}

static void
no_foreign_key(RelationshipDef *def, Oid a, Oid b)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_FOREIGN_KEY),
			 errmsg("there is no foreign key for relationship \"%s\" of class \"%s\"",
					def->name, def->class_name),
			 def->foreign_keys || def->remote_side ?
			 errdetail("None between \"%s\" and \"%s\" fits foreign_keys and remote_side.",
					   get_rel_name(a), get_rel_name(b)) :
			 errdetail("There is none between \"%s\" and \"%s\".",
					   get_rel_name(a), get_rel_name(b)),
			 errhint("Add a foreign key, or name in foreign_keys the columns that refer to the other side's primary key.")));
}

/* ------------------------------------------------------------------------
 * binding without a secondary table
 * ------------------------------------------------------------------------
 */

static List *
add_candidates(List *list, RelationshipDef *def, List *foreign_keys,
			   RelationshipDirection direction, Oid remote)
{
	ListCell   *lc;

	foreach(lc, foreign_keys)
	{
		ForeignKey *fk = lfirst(lc);
		List	   *remote_columns = direction == RELATIONSHIP_MANY_TO_ONE ?
			fk->referenced : fk->columns;
		Candidate  *candidate;

		if (def->foreign_keys &&
			!names_columns(def->foreign_keys, fk->from, fk->columns))
			continue;
		if (def->remote_side &&
			!names_columns(def->remote_side, remote, remote_columns))
			continue;
		candidate = palloc(sizeof(Candidate));
		candidate->key = fk;
		candidate->direction = direction;
		list = lappend(list, candidate);
	}
	return list;
}

/* foreign_keys without a constraint refer to the other's primary key. */
static List *
implied_key(RelationshipDef *def, Oid from, ModelDef *to)
{
	List	   *columns = written_columns(def->foreign_keys, from);
	List	   *referenced = primary_key_columns(to->relid);
	ForeignKey *fk;

	if (referenced == NIL)
		referenced = to->primary_key;
	if (columns == NIL || list_length(columns) != list_length(referenced))
		return NIL;
	fk = palloc0(sizeof(ForeignKey));
	fk->from = from;
	fk->columns = columns;
	fk->referenced = referenced;
	return list_make1(fk);
}

static List *
find_candidates(RelationshipDef *def, ModelDef *owner, ModelDef *target)
{
	List	   *result = NIL;

	result = add_candidates(result, def,
							foreign_keys_between(owner->relid, target->relid),
							RELATIONSHIP_MANY_TO_ONE, target->relid);
	result = add_candidates(result, def,
							foreign_keys_between(target->relid, owner->relid),
							RELATIONSHIP_ONE_TO_MANY, target->relid);
	if (result || def->foreign_keys == NIL)
		return result;
	result = add_candidates(result, def,
							implied_key(def, owner->relid, target),
							RELATIONSHIP_MANY_TO_ONE, target->relid);
	return add_candidates(result, def,
						  implied_key(def, target->relid, owner),
						  RELATIONSHIP_ONE_TO_MANY, target->relid);
}

/*
 * A self-referential foreign key can be read both ways.  It is one-to-many
 * unless remote_side names the referenced columns, as in the reference.
 */
static Candidate *
choose_self_referential(List *candidates)
{
	ListCell   *lc;

	foreach(lc, candidates)
	{
		Candidate  *candidate = lfirst(lc);

		if (candidate->direction == RELATIONSHIP_ONE_TO_MANY)
			return candidate;
	}
	return linitial(candidates);
}

static List *
distinct_keys(List *candidates)
{
	List	   *keys = NIL;
	ListCell   *lc;

	foreach(lc, candidates)
	{
		ForeignKey *fk = ((Candidate *) lfirst(lc))->key;
		ListCell   *other;
		bool		known = false;

		foreach(other, keys)
		{
			ForeignKey *seen = lfirst(other);

			if (seen->from == fk->from &&
				same_columns(seen->columns, fk->columns) &&
				seen->name && fk->name && strcmp(seen->name, fk->name) == 0)
				known = true;
		}
		if (!known)
			keys = lappend(keys, fk);
	}
	return keys;
}

static void
bind_direct(RelationshipDef *def, ModelDef *owner, ModelDef *target)
{
	List	   *candidates = find_candidates(def, owner, target);
	List	   *keys = distinct_keys(candidates);
	Candidate  *chosen;
	bool		many_to_one;

	if (candidates == NIL)
		no_foreign_key(def, owner->relid, target->relid);
	if (list_length(keys) > 1 && owner->relid != target->relid)
		ambiguous(def, keys, "Name the foreign key's columns in foreign_keys.");
	if (list_length(keys) > 1)
		ambiguous(def, keys,
				  "Name the foreign key's columns in foreign_keys, and the remote columns in remote_side.");
	chosen = choose_self_referential(candidates);

	many_to_one = chosen->direction == RELATIONSHIP_MANY_TO_ONE;
	def->direction = chosen->direction;
	def->constraint_name = chosen->key->name;
	def->local_columns = many_to_one ? chosen->key->columns :
		chosen->key->referenced;
	def->remote_columns = many_to_one ? chosen->key->referenced :
		chosen->key->columns;
}

/* ------------------------------------------------------------------------
 * binding through a secondary table
 * ------------------------------------------------------------------------
 */

/* "schema"."table" or a table of the owner's schema; never by search_path. */
Oid
find_secondary(RelationshipDef *def, ModelDef *owner)
{
	Oid			schema = get_rel_namespace(owner->relid);
	Oid			relid = get_relname_relid(def->secondary, schema);
	ModelDef   *model;
	List	   *parts;

	if (OidIsValid(relid))
		return relid;
	/* the class of the secondary table does as well */
	model = model_def_by_class(def->secondary);
	if (model)
		return model->relid;
	parts = split_name(def->secondary);
	if (list_length(parts) != 2)
		return InvalidOid;
	schema = get_namespace_oid(linitial(parts), true);
	return OidIsValid(schema) ? get_relname_relid(lsecond(parts), schema) :
		InvalidOid;
}

/*
 * The secondary table's foreign key to one side.  Where there are several,
 * the written columns choose; except excludes the one of the other side.
 */
static ForeignKey *
secondary_key(RelationshipDef *def, Oid secondary, Oid to, List *written,
			  ForeignKey *except)
{
	List	   *found = NIL;
	List	   *chosen = NIL;
	ListCell   *lc;

	foreach(lc, foreign_keys_between(secondary, to))
	{
		ForeignKey *fk = lfirst(lc);

		if (except && same_columns(fk->columns, except->columns))
			continue;
		found = lappend(found, fk);
		if (written && names_columns(written, secondary, fk->columns))
			chosen = lappend(chosen, fk);
	}
	if (chosen)
		found = chosen;
	if (found == NIL)
		no_foreign_key(def, secondary, to);
	if (list_length(found) > 1)
		ambiguous(def, found,
				  "Name the secondary table's columns for this side in foreign_keys, and those for the other side in remote_side.");
	return linitial(found);
}

void
relationship_missing_secondary(RelationshipDef *def)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("secondary table \"%s\" of relationship \"%s\" of class \"%s\" does not exist",
					def->secondary, def->name, def->class_name)));
}

static void
bind_secondary(RelationshipDef *def, ModelDef *owner, ModelDef *target)
{
	Oid			secondary = find_secondary(def, owner);
	ForeignKey *near;
	ForeignKey *far = NULL;

	if (!OidIsValid(secondary))
		relationship_missing_secondary(def);

	/* between a table and itself the far side may be the one that is named */
	if (owner->relid == target->relid && def->remote_side)
		far = secondary_key(def, secondary, target->relid, def->remote_side,
							NULL);
	near = secondary_key(def, secondary, owner->relid, def->foreign_keys,
						 far);
	if (far == NULL)
		far = secondary_key(def, secondary, target->relid, def->remote_side,
							owner->relid == target->relid ? near : NULL);

	def->direction = RELATIONSHIP_MANY_TO_MANY;
	def->secondary_relation = secondary;
	def->constraint_name = near->name;
	def->local_columns = near->referenced;
	def->secondary_local = near->columns;
	def->secondary_constraint = far->name;
	def->remote_columns = far->referenced;
	def->secondary_remote = far->columns;
}

void
relationship_find_keys(RelationshipDef *def, ModelDef *owner,
					   ModelDef *target)
{
	if (def->secondary)
		bind_secondary(def, owner, target);
	else
		bind_direct(def, owner, target);
	def->bound = true;
}

/* ------------------------------------------------------------------------
 * finding the columns of a bound row again
 * ------------------------------------------------------------------------
 */

/* The foreign key of that name, or NULL. */
static ForeignKey *
key_by_name(Oid from, Oid to, const char *name)
{
	ListCell   *lc;

	if (name == NULL || !OidIsValid(from) || !OidIsValid(to))
		return NULL;
	foreach(lc, foreign_keys_between(from, to))
	{
		ForeignKey *fk = lfirst(lc);

		if (strcmp(fk->name, name) == 0)
			return fk;
	}
	return NULL;
}

static bool
repair_direct(RelationshipDef *def, Oid owner, Oid target)
{
	bool		many_to_one = def->direction == RELATIONSHIP_MANY_TO_ONE;
	ForeignKey *fk = many_to_one ?
		key_by_name(owner, target, def->constraint_name) :
		key_by_name(target, owner, def->constraint_name);

	if (fk == NULL)
		return false;
	def->local_columns = many_to_one ? fk->columns : fk->referenced;
	def->remote_columns = many_to_one ? fk->referenced : fk->columns;
	return true;
}

static bool
repair_secondary(RelationshipDef *def, Oid owner, Oid target)
{
	ForeignKey *near = key_by_name(def->secondary_relation, owner,
								   def->constraint_name);
	ForeignKey *far = key_by_name(def->secondary_relation, target,
								  def->secondary_constraint);

	if (near == NULL || far == NULL)
		return false;
	def->local_columns = near->referenced;
	def->secondary_local = near->columns;
	def->remote_columns = far->referenced;
	def->secondary_remote = far->columns;
	return true;
}

bool
relationship_find_columns(RelationshipDef *def, Oid owner, Oid target)
{
	return def->direction == RELATIONSHIP_MANY_TO_MANY ?
		repair_secondary(def, owner, target) :
		repair_direct(def, owner, target);
}

/*-------------------------------------------------------------------------
 *
 * relationship.c
 *	  The rows of orm.relationship_def: their options and names are checked
 *	  and they are bound to foreign keys as soon as both tables exist: by
 *	  orm.relate at once, after orm.declare when orm.create_all has made them.
 *
 * Memory is the caller's context; nothing is kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "model/internal.h"

/* ------------------------------------------------------------------------
 * options
 * ------------------------------------------------------------------------
 */

static int
cascade_bit(const char *word)
{
	static const struct
	{
		const char *word;
		int			bits;
	}			words[] = {
		{"all", CASCADE_ALL},
		{"save-update", CASCADE_SAVE_UPDATE},
		{"merge", CASCADE_MERGE},
		{"refresh-expire", CASCADE_REFRESH_EXPIRE},
		{"expunge", CASCADE_EXPUNGE},
		{"delete", CASCADE_DELETE},
		{"delete-orphan", CASCADE_DELETE_ORPHAN},
		{"none", 0},
	};
	List	   *names = NIL;
	const char *nearest;

	for (int i = 0; i < lengthof(words); i++)
	{
		if (strcmp(words[i].word, word) == 0)
			return words[i].bits;
		names = lappend(names, (char *) words[i].word);
	}
	nearest = nearest_name(word, names);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown cascade \"%s\"", word),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("The cascades are all, save-update, merge, refresh-expire, expunge, delete, delete-orphan and none.")));
}

int
cascade_bits(const char *cascade, bool viewonly)
{
	char	   *copy;
	char	   *word;
	char	   *rest;
	int			bits = 0;

	if (cascade == NULL)
		return viewonly ? CASCADE_MERGE : CASCADE_DEFAULT;
	copy = pstrdup(cascade);
	for (word = strtok_r(copy, ", \t\n", &rest); word;
		 word = strtok_r(NULL, ", \t\n", &rest))
		bits |= cascade_bit(word);
	if (viewonly && (bits & ~(CASCADE_MERGE | CASCADE_REFRESH_EXPIRE |
							  CASCADE_EXPUNGE)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cascade \"%s\" would write through a viewonly relationship",
						cascade)));
	return bits;
}

/* ------------------------------------------------------------------------
 * checks that need both sides
 * ------------------------------------------------------------------------
 */

static void
name_taken(ModelDef *model, const char *name, const char *what, int code)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("relationship \"%s\" cannot be added to class \"%s\"",
					name, model->class_name),
			 errdetail("The class has a %s of that name.", what)));
}

/* Is def the stored row of the relationship that is being checked? */
static bool
is_own_row(RelationshipDef *def, RelationshipDef *checked)
{
	return checked->stored &&
		strcmp(def->class_name, checked->class_name) == 0 &&
		strcmp(def->name, checked->name) == 0;
}

/*
 * A relationship must not have the name of a column, which would hide it, nor
 * that of another relationship of the class.
 */
static void
check_name_free(ModelDef *model, const char *name, RelationshipDef *checked)
{
	ListCell   *lc;

	/* its navigation function has the same name */
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid relationship name \"%s\"", name)));
	if (OidIsValid(model->relid) &&
		get_attnum(model->relid, name) != InvalidAttrNumber)
		name_taken(model, name, "column", ERRCODE_DUPLICATE_COLUMN);
	foreach(lc, relationship_defs_of_class(model->class_name))
	{
		RelationshipDef *def = lfirst(lc);

		if (strcmp(def->name, name) == 0 && !is_own_row(def, checked))
			name_taken(model, name, "relationship", ERRCODE_DUPLICATE_OBJECT);
	}
	foreach(lc, relationship_defs_to_class(model->class_name))
	{
		RelationshipDef *def = lfirst(lc);

		if (def->backref && strcmp(def->backref, name) == 0 &&
			!is_own_row(def, checked))
			name_taken(model, name, "backref", ERRCODE_DUPLICATE_OBJECT);
	}
}

static void
check_options(RelationshipDef *def)
{
	int			bits = cascade_bits(def->cascade, def->viewonly);

	if ((bits & CASCADE_DELETE_ORPHAN) &&
		def->direction != RELATIONSHIP_ONE_TO_MANY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cascade \"delete-orphan\" needs a one-to-many relationship"),
				 errdetail("Relationship \"%s\" of class \"%s\" is not.",
						   def->name, def->class_name)));
	if (def->uselist_given && def->uselist &&
		def->direction == RELATIONSHIP_MANY_TO_ONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("many-to-one relationship \"%s\" of class \"%s\" cannot be a collection",
						def->name, def->class_name)));
}

static void
relationship_bind(RelationshipDef *def, ModelDef *owner, ModelDef *target)
{
	def->target = target->class_name;
	relationship_find_keys(def, owner, target);
	check_options(def);
	check_name_free(owner, def->name, def);
	if (def->backref)
	{
		/* its navigation function will be in the target's schema */
		catalog_check_owner(target->relid);
		if (strcmp(owner->class_name, target->class_name) == 0 &&
			strcmp(def->name, def->backref) == 0)
			name_taken(target, def->backref, "relationship",
					   ERRCODE_DUPLICATE_OBJECT);
		check_name_free(target, def->backref, def);
	}
}

/* ------------------------------------------------------------------------
 * rows
 * ------------------------------------------------------------------------
 */

/* The class that a declared target means, or NULL: a class or a table. */
static ModelDef *
find_target(RelationshipDef *def, ModelDef *owner)
{
	ModelDef   *target = model_def_by_class(def->target);
	Model	   *model;

	if (target)
		return target;
	if (OidIsValid(owner->relid))
	{
		/* a table of the owner's schema comes before those of others */
		Oid			relid = get_relname_relid(def->target,
											  get_rel_namespace(owner->relid));

		target = OidIsValid(relid) ? model_def_by_relation(relid) : NULL;
		if (target)
			return target;
	}
	model = model_by_class(def->target, true);
	return model ? model_def_by_relation(model->relid) : NULL;
}

static const char *
direction_text(RelationshipDef *def)
{
	if (!def->bound)
		return NULL;
	switch (def->direction)
	{
		case RELATIONSHIP_MANY_TO_ONE:
			return "many-to-one";
		case RELATIONSHIP_ONE_TO_MANY:
			return "one-to-many";
		case RELATIONSHIP_MANY_TO_MANY:
			return "many-to-many";
	}
	pg_unreachable();
}

static int
binding_params(RelationshipDef *def, CatalogParam *params)
{
	int			n = 0;

	params[n++] = catalog_text(def->class_name);
	params[n++] = catalog_text(def->name);
	params[n++] = catalog_text(def->target);
	params[n++] = catalog_text(direction_text(def));
	params[n++] = catalog_name(def->constraint_name);
	params[n++] = catalog_names(def->local_columns);
	params[n++] = catalog_names(def->remote_columns);
	params[n++] = catalog_oid(REGCLASSOID, def->secondary_relation);
	params[n++] = catalog_names(def->secondary_local);
	params[n++] = catalog_names(def->secondary_remote);
	params[n++] = catalog_name(def->secondary_constraint);
	return n;
}

static void
insert_row(RelationshipDef *def)
{
	CatalogParam params[24];
	int			n = binding_params(def, params);

	params[n++] = catalog_text(def->backref);
	params[n++] = catalog_text(def->secondary);
	params[n++] = catalog_texts(def->foreign_keys);
	params[n++] = catalog_texts(def->remote_side);
	params[n++] = catalog_text(def->order_by);
	params[n++] = catalog_text(def->cascade);
	params[n++] = catalog_bool(def->passive_deletes, false);
	params[n++] = catalog_bool(def->viewonly, false);
	params[n++] = catalog_bool(def->uselist, !def->uselist_given);
	params[n++] = catalog_name(def->extension);
	catalog_execute("INSERT INTO orm.relationship_def"
					" (class, name, target, direction, constraint_name,"
					" local_columns, remote_columns, secondary_relation,"
					" secondary_local, secondary_remote,"
					" secondary_constraint, backref, secondary,"
					" foreign_keys, remote_side, order_by, cascade,"
					" passive_deletes, viewonly, uselist, extension)"
					" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
					" $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
					n, params);
}

static void
update_binding(RelationshipDef *def)
{
	CatalogParam params[24];
	int			n = binding_params(def, params);

	catalog_execute("UPDATE orm.relationship_def"
					" SET target = $3, direction = $4, constraint_name = $5,"
					" local_columns = $6, remote_columns = $7,"
					" secondary_relation = $8, secondary_local = $9,"
					" secondary_remote = $10, secondary_constraint = $11"
					" WHERE class OPERATOR(pg_catalog.=) $1"
					" AND name OPERATOR(pg_catalog.=) $2", n, params);
}

/* A row's table may have been dropped unseen. */
static bool
has_table(ModelDef *def)
{
	return def != NULL && OidIsValid(def->relid) &&
		SearchSysCacheExists1(RELOID, ObjectIdGetDatum(def->relid));
}

/* Can the row be bound yet? */
static bool
is_complete(RelationshipDef *def, ModelDef *owner, ModelDef *target)
{
	return has_table(owner) && has_table(target) &&
		(def->secondary == NULL || OidIsValid(find_secondary(def, owner)));
}

/* Says what is missing of a relationship that has to be complete. */
static void
require_complete(RelationshipDef *def, ModelDef *target)
{
	if (!has_table(target))
		model_by_class(def->target, false);
	relationship_missing_secondary(def);
}

void
relationship_insert(RelationshipDef *def, bool bind_now)
{
	ModelDef   *owner = model_def_by_class(def->class_name);
	ModelDef   *target = find_target(def, owner);
	bool		complete = is_complete(def, owner, target);

	def->extension = catalog_current_extension();
	if (bind_now && !complete)
		require_complete(def, target);
	if (complete)
		relationship_bind(def, owner, target);
	else
	{
		cascade_bits(def->cascade, def->viewonly);
		check_name_free(owner, def->name, def);
	}
	insert_row(def);
}

void
relationships_bind_pending(bool everybodys)
{
	ListCell   *lc;

	foreach(lc, relationship_defs())
	{
		RelationshipDef *def = lfirst(lc);
		ModelDef   *owner;
		ModelDef   *target;

		if (def->bound)
			continue;
		owner = model_def_by_class(def->class_name);
		if (!has_table(owner) ||
			!(everybodys ||
			  compat_class_ownercheck(owner->relid, GetUserId())))
			continue;
		target = find_target(def, owner);
		if (!is_complete(def, owner, target))
			continue;
		relationship_bind(def, owner, target);
		update_binding(def);
	}
}

/* Columns that were renamed unseen are those of the constraints. */
void
relationship_repair(RelationshipDef *def)
{
	ModelDef   *owner = model_def_by_class(def->class_name);
	ModelDef   *target = model_def_by_class(def->target);

	if (def->bound && has_table(owner) && has_table(target) &&
		relationship_find_columns(def, owner->relid, target->relid))
		update_binding(def);
}

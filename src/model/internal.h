/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  What the files of the model module share among themselves: the rows of
 *	  the config tables, and writing them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_MODEL_INTERNAL_H
#define PG_ORM_MODEL_INTERNAL_H

#include "model/model.h"
#include "utils/rel.h"

/* One row of orm.model_def, in the memory context of the caller. */
typedef struct ModelDef
{
	char	   *class_name;
	Oid			relid;			/* InvalidOid while there is no table */
	char	   *schema_name;
	char	   *table_name;
	char	   *owner;			/* name of a role */
	char	   *version_column; /* or NULL */
	List	   *primary_key;	/* of char *; NIL while there is no table */
	bool		declared;
	char	   *extension;		/* or NULL */
} ModelDef;

/* One row of orm.relationship_def, in the memory context of the caller. */
typedef struct RelationshipDef
{
	char	   *class_name;
	char	   *name;
	char	   *target;
	char	   *backref;		/* or NULL */
	char	   *secondary;		/* as declared, or NULL */
	List	   *foreign_keys;	/* of char *, as the next */
	List	   *remote_side;
	char	   *order_by;		/* or NULL */
	char	   *cascade;		/* or NULL */
	bool		passive_deletes;
	bool		viewonly;
	bool		uselist;		/* meaningful if uselist_given */
	bool		uselist_given;
	char	   *extension;		/* or NULL */

	bool		stored;			/* the row is in the table already */

	/* filled when both tables exist */
	bool		bound;
	RelationshipDirection direction;
	char	   *constraint_name;	/* or NULL, if there is no constraint */
	List	   *local_columns;	/* of char *, as the next */
	List	   *remote_columns;
	Oid			secondary_relation;
	List	   *secondary_local;
	List	   *secondary_remote;
	char	   *secondary_constraint;	/* or NULL */
} RelationshipDef;

/* ------------------------------------------------------------------------
 * in catalog.c
 * ------------------------------------------------------------------------
 */

/* The config table of classes; InvalidOid if the extension is not installed. */
extern Oid	catalog_model_def(void);

/* Forgets the OIDs of the config tables: safe in an invalidation callback. */
extern void catalog_reset(void);

/* Is relid one of the config tables, as far as is known? */
extern bool catalog_is_config(Oid relid);

/* Rows by key, or NULL. */
extern ModelDef *model_def_by_class(const char *class_name);
extern ModelDef *model_def_by_relation(Oid relid);

/* All rows; those of a class, and those with a backref that lead to it. */
extern List *model_defs(void);
extern List *relationship_defs(void);
extern List *relationship_defs_of_class(const char *class_name);
extern List *relationship_defs_to_class(const char *class_name);

/* A parameter of a statement on the config tables. */
typedef struct CatalogParam
{
	Oid			type;
	Datum		value;
	bool		isnull;
} CatalogParam;

extern CatalogParam catalog_text(const char *value);
extern CatalogParam catalog_name(const char *value);
extern CatalogParam catalog_names(List *values);
extern CatalogParam catalog_texts(List *values);
extern CatalogParam catalog_oid(Oid type, Oid value);
extern CatalogParam catalog_bool(bool value, bool isnull);

/*
 * Executes one statement on the config tables as their owner, whoever calls:
 * the caller has checked what the present user may do.  Returns the number
 * of rows.
 */
extern uint64 catalog_execute(const char *sql, int nparams,
							  const CatalogParam *params);

/* The extension whose script is running, or NULL. */
extern char *catalog_current_extension(void);

/*
 * Raises unless the present user owns the relation and, outside of an
 * extension's script, the model is not an extension's.
 */
extern void catalog_check_owner(Oid relid);
extern void catalog_check_extension(const char *class_name,
									const char *extension);

/* The relation's name, schema-qualified and quoted. */
extern char *relation_sql(Oid relid);

/* List of char * from a text[] or name[] Datum; NULL elements are refused. */
extern List *strings_of_array(Datum array);

/* ------------------------------------------------------------------------
 * in metadata.c, build.c and lookup.c
 * ------------------------------------------------------------------------
 */

/* The newest model of a relation, or NULL if it is not mapped. */
extern Model *metadata_model(Oid relid);

/* From now on changes of the relation invalidate what depends on it. */
extern void metadata_watch(Oid relid);

/*
 * 55006 if a session has something pending for a relation whose class is about
 * to be forgotten; with may_flush the current session is flushed first.
 */
extern void model_require_not_pending(const char *class_name, Oid relid,
									  bool may_flush);

/* Builds a model below the current memory context, or NULL. */
extern Model *model_build(Oid relid);

/* Forgets the names of classes and tables: safe in a callback. */
extern void directory_reset(void);

/* ------------------------------------------------------------------------
 * in bind.c
 * ------------------------------------------------------------------------
 */

/* Attribute numbers of named columns, or NULL if one of them is missing. */
extern AttrNumber *attnums_of_names(Oid relid, List *names);

/* The columns of a row of pg_constraint, of its column conkey or confkey. */
extern List *constraint_columns(Oid relid, HeapTuple tuple,
								TupleDesc tupdesc, int column);

/* Is the name in a List of char *? */
extern bool names_contain(List *names, const char *name);

/* The parts of "a.b.c" or "\"A\".b": List of char *. */
extern List *split_name(const char *name);

/*
 * Finds the foreign keys of a declared relationship between two relations
 * and fills the bound part of def.  Raises 42830 or 42725.
 */
extern void relationship_find_keys(RelationshipDef *def, ModelDef *owner,
								   ModelDef *target);

/*
 * Takes the columns of a bound row anew from the constraints of the recorded
 * names; false if those are not there.
 */
extern bool relationship_find_columns(RelationshipDef *def, Oid owner,
									  Oid target);

/* The secondary table, or InvalidOid. */
extern Oid	find_secondary(RelationshipDef *def, ModelDef *owner);

/* Raises 42P01: there is no such secondary table. */
extern void relationship_missing_secondary(RelationshipDef *def);

/* ------------------------------------------------------------------------
 * in relationship.c
 * ------------------------------------------------------------------------
 */

/* CASCADE_ bits of a cascade option; raises 22023 for an unknown word. */
extern int	cascade_bits(const char *cascade, bool viewonly);

/*
 * Checks the names, then writes a new row, bound if both tables exist; with
 * bind_now they must.
 */
extern void relationship_insert(RelationshipDef *def, bool bind_now);

/*
 * Binds the rows whose tables exist by now: those of the present user's
 * tables, or everybody's.
 */
extern void relationships_bind_pending(bool everybodys);

/* Takes a row's columns anew from its foreign-key constraints. */
extern void relationship_repair(RelationshipDef *def);

/* ------------------------------------------------------------------------
 * in map.c
 * ------------------------------------------------------------------------
 */

/*
 * Writes a new row: checks that the relation can be mapped and is the
 * caller's, and the names that come with it.
 */
extern void model_map(Oid relid, const char *class_name,
					  const char *version_column, List *primary_key);

/* Columns of the relation's primary key constraint, in its order. */
extern List *primary_key_columns(Oid relid);

/* Raises 42710 if a class has that name, or the relation has a class. */
extern void check_class_free(const char *class_name);
extern void check_not_mapped(Relation rel);

/* Raises 42804 unless the version column, 42703 if there is none, counts. */
extern void check_version_column(Relation rel, const char *name);
extern void check_version_type(const char *name, Oid type);

/* May the present user make, drop or forget the declared table? */
extern bool is_declared_owner(const char *owner);

/* ------------------------------------------------------------------------
 * in metadata.c: pieces of building a model
 * ------------------------------------------------------------------------
 */

/* Fills in what a relation says of itself; the context must be set. */
extern void model_describe_relation(Model *model, Relation rel);

/* Fills in one key column; the equality is the type's own if not given. */
extern void model_fill_key_column(ModelKeyColumn *key, TupleDesc tupdesc,
								  AttrNumber attnum, Oid eq_operator,
								  MemoryContext mcxt);

#endif							/* PG_ORM_MODEL_INTERNAL_H */

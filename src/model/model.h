/*-------------------------------------------------------------------------
 *
 * model.h
 *	  What is mapped: the metadata of models and relationships.
 *
 * A Model is read from the extension's config tables and from PostgreSQL's
 * own catalogs, and cached for the life of the backend.  One relcache and one
 * syscache callback mark it invalid and do nothing else; the next look-up
 * builds it anew.
 *
 * Lifetime: a pointer returned here stays readable until the end of the
 * transaction, even when the model was invalidated meanwhile (its memory is
 * kept until then); whoever keeps one longer keeps the relid and asks again.
 * A Model that was invalidated has valid = false.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_MODEL_H
#define PG_ORM_MODEL_H

#include "access/attnum.h"
#include "access/htup.h"
#include "access/sysattr.h"
#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* One column of a model's primary key, with what compares and hashes it. */
typedef struct ModelKeyColumn
{
	AttrNumber	attnum;
	Oid			typid;
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	Oid			eq_operator;	/* equality of the key's own index */
	FmgrInfo	equal;			/* its function */
	FmgrInfo	hash;			/* fn_oid is invalid if the type has none */
	bool		is_integer;		/* equal means the same Datum */
} ModelKeyColumn;

typedef enum RelationshipDirection
{
	RELATIONSHIP_MANY_TO_ONE,	/* the foreign key is on the owner's side */
	RELATIONSHIP_ONE_TO_MANY,	/* the foreign key is on the target's side */
	RELATIONSHIP_MANY_TO_MANY	/* through a secondary table */
} RelationshipDirection;

/* Bits of Relationship.cascade (semantics.md 3.2). */
#define CASCADE_SAVE_UPDATE		0x01
#define CASCADE_MERGE			0x02
#define CASCADE_REFRESH_EXPIRE	0x04
#define CASCADE_EXPUNGE			0x08
#define CASCADE_DELETE			0x10
#define CASCADE_DELETE_ORPHAN	0x20
#define CASCADE_DEFAULT			(CASCADE_SAVE_UPDATE | CASCADE_MERGE)
#define CASCADE_ALL				(CASCADE_DEFAULT | CASCADE_REFRESH_EXPIRE | \
								 CASCADE_EXPUNGE | CASCADE_DELETE)

/*
 * One direction of a relationship, as seen from its owner; a backref is a
 * Relationship of its own, of the target.
 *
 * Columns pair up by position: local_attnums[i] of the owner equals
 * remote_attnums[i] of the target.  Through a secondary table,
 * local_attnums[i] equals secondary_local[i] of the secondary, and
 * remote_attnums[i] of the target equals secondary_remote[i].
 */
typedef struct Relationship
{
	char	   *name;
	char	   *backref;		/* name of the other direction, or NULL */
	Oid			owner;			/* relation whose model has it */
	Oid			target;
	RelationshipDirection direction;
	bool		uselist;		/* a collection, not one object */
	bool		viewonly;
	bool		passive_deletes;
	int			cascade;		/* CASCADE_ bits */
	char	   *order_by;		/* SQL sort list, or NULL */
	int			nlocal;
	AttrNumber *local_attnums;
	int			nremote;		/* equals nlocal without a secondary */
	AttrNumber *remote_attnums;
	Oid			secondary;		/* InvalidOid if there is none */
	AttrNumber *secondary_local;
	AttrNumber *secondary_remote;
	struct Model *association;	/* see relationship_association */
} Relationship;

typedef struct Model
{
	Oid			relid;
	char		relkind;
	Oid			rowtype;		/* the object type */
	Oid			array_type;		/* its array type */
	char	   *class_name;
	char	   *relation_name;	/* schema-qualified and quoted */
	TupleDesc	tupdesc;		/* of the row type; a counted reference */
	List	   *parents;		/* relation_parents() */
	int			nkeys;
	ModelKeyColumn *keys;
	AttrNumber	version_attnum; /* of version_column, or 0 */
	int			nrelationships;
	Relationship **relationships;
	bool		association;	/* a secondary table seen as links, see below */
	bool		valid;			/* false once something has changed */
	MemoryContext context;		/* holds all of the above */
} Model;

/*
 * Look-ups.  The ones that take missing_ok return NULL then; otherwise they
 * raise undefined_object (42704) with the nearest name as hint.
 */
extern Model *model_by_relid(Oid relid, bool missing_ok);

/* The model of a row type; domains over it included. */
extern Model *model_by_rowtype(Oid typid, bool missing_ok);

/*
 * The model of a class or, where no class has that name, of a table, which
 * may be schema-qualified.  A table name in several schemas raises
 * ambiguous (42725).
 */
extern Model *model_by_class(const char *name, bool missing_ok);

/*
 * The model named by argument argno of a polymorphic call, from the
 * argument's declared type (NULL::users is enough).
 */
extern Model *model_from_argument(FunctionCallInfo fcinfo, int argno);

/* A relationship of the model by name. */
extern Relationship *model_relationship(Model *model, const char *name,
										bool missing_ok);

/*
 * The secondary table of a many-to-many relationship as a model of links: its
 * key is its foreign-key columns, in column order, the same for both
 * directions.  It is no mapped class; model_by_relid does not return it.
 */
extern Model *relationship_association(Relationship *relationship);

/*
 * A column of the model by name (never a dropped or system one), or
 * InvalidAttrNumber if missing_ok; otherwise undefined_column (42703) with
 * the nearest column or relationship as hint.
 */
extern AttrNumber model_attnum(Model *model, const char *name,
							   bool missing_ok);

/* All mapped models that have a relation, in no order: List of Model *. */
extern List *model_list(void);

/*
 * Opens a relation that may have been dropped since its OID was looked up,
 * which is 42P01; locks it with AccessShareLock.
 */
extern Relation relation_open_existing(Oid relid);

/* What a relation is a partition or a child of: Oids. */
extern List *relation_parents(Oid relid);

/*
 * A counter that moves whenever any model, relationship, relation or schema
 * may have changed in a way that generated SQL could depend on.
 */
extern uint64 model_generation_counter;

static inline uint64
model_generation(void)
{
	return model_generation_counter;
}

/* Called with the relid of what changed, or InvalidOid for everything. */
typedef void (*ModelInvalidationCallback) (Oid relid);

/*
 * Registers a function that runs within the invalidation callback: it may
 * set flags, and must not look anything up, allocate or raise.
 */
extern void model_on_invalidation(ModelInvalidationCallback callback);

/*
 * Asked before a class is forgotten, after which its rows cannot be written
 * any more: the name of a session that has something pending for the relation,
 * or NULL.  With may_flush it writes first what it would before a statement.
 */
typedef const char *(*ModelForgetCallback) (Oid relid, bool may_flush);

extern void model_on_forget(ModelForgetCallback callback);

/*
 * The name of the candidates (List of char *) that is nearest to name, or
 * NULL if none is near: for "Perhaps you meant ..." hints.
 */
extern const char *nearest_name(const char *name, List *candidates);

/* ------------------------------------------------------------------------
 * smallint, integer and bigint, whatever the width
 * ------------------------------------------------------------------------
 */
static inline bool
is_integer_type(Oid typid)
{
	return typid == INT2OID || typid == INT4OID || typid == INT8OID;
}

static inline bool
model_has_integer_key(Model *model)
{
	return model->nkeys == 1 && is_integer_type(model->keys[0].typid);
}

static inline int64
integer_of_datum(Datum value, Oid typid)
{
	switch (typid)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

static inline Datum
datum_of_integer(int64 value, Oid typid)
{
	switch (typid)
	{
		case INT2OID:
			return Int16GetDatum((int16) value);
		case INT4OID:
			return Int32GetDatum((int32) value);
		default:
			return Int64GetDatum(value);
	}
}

/* ------------------------------------------------------------------------
 * in key.c: values of a primary key
 * ------------------------------------------------------------------------
 */

/*
 * Sets of columns are Bitmapsets, as PostgreSQL has them: with room for system
 * columns.
 */
static inline int
column_member(AttrNumber attnum)
{
	return attnum - FirstLowInvalidHeapAttributeNumber;
}

static inline AttrNumber
member_column(int member)
{
	return member + FirstLowInvalidHeapAttributeNumber;
}

/* Is a column of the key one of those? */
extern bool model_key_overlaps(const Model *model, const Bitmapset *columns);

/* What an integer column has of a Datum, which is passed by value. */
static inline uint64
key_integer(const ModelKeyColumn *key, Datum value)
{
	switch (key->typlen)
	{
		case sizeof(int16):
			return DatumGetUInt16(value);
		case sizeof(int32):
			return DatumGetUInt32(value);
		default:
			return (uint64) value;
	}
}

/* Is the key one integer, or what is one inside? */
static inline bool
model_key_is_integer(const Model *model)
{
	return model->nkeys == 1 && model->keys[0].is_integer;
}

extern uint32 model_key_hash(Model *model, const Datum *values);
extern bool model_key_equal(Model *model, const Datum *a, const Datum *b);

/*
 * Reads the key of a row of the model's row type into values[nkeys], which
 * point into the row.  Returns false if a part of it is NULL.
 */
extern bool model_key_of_row(Model *model, HeapTupleHeader row,
							 Datum *values);

/*
 * Reads key values passed as arguments, from argument first on, VARIADIC
 * "any" or VARIADIC text[] (an array passed with the keyword VARIADIC too),
 * converted to the key's types by assignment cast or by input function.
 * The conversion is prepared once and kept in a struct in mcxt.  A wrong
 * number of values is invalid_parameter_value (22023).
 */
typedef struct KeyArguments KeyArguments;

extern KeyArguments *key_arguments_prepare(FunctionCallInfo fcinfo, int first,
										   Model *model, MemoryContext mcxt);

/* Returns false if one of the values is NULL, or can be no key of the type. */
extern bool key_arguments_read(KeyArguments *arguments,
							   FunctionCallInfo fcinfo, Datum *values);

/* "(1)" or "(1, abc)": a key as text for messages. */
extern char *model_key_to_text(Model *model, const Datum *values);

/* ------------------------------------------------------------------------
 * in sql_text.c: pieces of generated SQL, quoted and schema-qualified
 * ------------------------------------------------------------------------
 */

/* An operator as "OPERATOR(schema.=)", palloc'd. */
extern char *operator_sql(Oid operator);

/*
 * Equality of two types that stand in a foreign key or the like, InvalidOid if
 * there is none; the other form raises undefined_function (42883) then.
 */
extern Oid	types_equality_operator(Oid left, Oid right);
extern Oid	types_equality_required(Oid left, Oid right);

/* "l.a OPERATOR(schema.=) r.b", palloc'd. */
extern char *column_equality_sql(Model *left, const char *left_alias,
								 AttrNumber left_attnum, Model *right,
								 const char *right_alias,
								 AttrNumber right_attnum);

/* The class as it may stand in a comment of generated SQL, palloc'd. */
extern char *class_comment(Model *model);

/* The quoted name of a column of the model. */
extern const char *column_sql(Model *model, AttrNumber attnum);

/* ------------------------------------------------------------------------
 * init, called by _PG_init
 * ------------------------------------------------------------------------
 */
extern void metadata_init(void);

#endif							/* PG_ORM_MODEL_H */

/*-------------------------------------------------------------------------
 *
 * declaration.h
 *	  What orm.declare and orm.create_all share: fragments of SQL and the
 *	  declared table.  Internal to the model module.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_MODEL_DECLARATION_H
#define PG_ORM_MODEL_DECLARATION_H

#include "model/internal.h"
#include "nodes/parsenodes.h"

/* One declared column. */
typedef struct ColumnDecl
{
	char	   *name;
	char	   *type;			/* with its modifier, schema-qualified */
	Oid			typid;			/* while declaring only, as the next two */
	int32		typmod;
	Oid			collation;
	bool		primary_key;
	bool		not_null;
	bool		unique_key;
	bool		index;
	bool		identity;
	char	   *default_sql;	/* the following may be NULL */
	char	   *generated;
	char	   *foreign_key;
	char	   *ondelete;
	char	   *onupdate;
} ColumnDecl;

/* One declared table. */
typedef struct TableDecl
{
	char	   *class_name;
	char	   *schema_name;
	char	   *table_name;
	char	   *version_column; /* or NULL */
	List	   *columns;		/* of ColumnDecl * */
	List	   *constraints;	/* of char *, SQL as in CREATE TABLE */
	List	   *indexes;		/* of char *, SQL as after CREATE INDEX */
} TableDecl;

/* An index fragment taken apart. */
typedef struct IndexFragment
{
	bool		unique;
	char	   *name;			/* or NULL */
	char	   *rest;			/* what follows ON */
	IndexStmt  *statement;		/* of a table named "table" */
} IndexFragment;

/* ------------------------------------------------------------------------
 * in fragment.c: each parses alone as exactly what it is said to be
 * (42601 otherwise)
 * ------------------------------------------------------------------------
 */
extern TypeName *fragment_type(const char *sql);
extern Node *fragment_expression(const char *sql, const char *what);
extern void fragment_sort_list(const char *sql);
extern Constraint *fragment_constraint(const char *sql);
extern IndexFragment *fragment_index(const char *sql);

/*
 * Names the fragment in the context of errors that are raised until
 * fragment_end, and keeps positions in it from being taken for positions in
 * the client's statement.
 */
typedef struct FragmentContext
{
	const char *what;
	const char *sql;
	int			offset;			/* of the fragment in what is parsed */
	ErrorContextCallback callback;
} FragmentContext;

extern void fragment_begin(FragmentContext *context, const char *what,
						   const char *sql, int offset);
extern void fragment_end(FragmentContext *context);

/* ------------------------------------------------------------------------
 * in check.c: what the fragments mean
 * ------------------------------------------------------------------------
 */

/*
 * Resolves the column's type and analyses its expressions; columns are those
 * of the table, with their types.
 */
extern void check_column_type(ColumnDecl *column);
extern void check_column_expressions(ColumnDecl *column, List *columns);
extern void check_constraint(const char *sql, List *columns);
extern void check_index(const char *sql, List *columns);
extern void check_foreign_key(ColumnDecl *column);

extern ColumnDecl *find_column(List *columns, const char *name);

/* Raises 42703 unless the table has the column. */
extern ColumnDecl *require_column(List *columns, const char *name,
								  const char *where);

/* ------------------------------------------------------------------------
 * in declaration.c: the column model_def.declaration
 * ------------------------------------------------------------------------
 */
extern Datum declaration_to_jsonb(TableDecl *table);
extern TableDecl *declaration_read(const char *class_name);

/* ------------------------------------------------------------------------
 * in create_all.c
 * ------------------------------------------------------------------------
 */

/* Ties a declared class to a table that exists. */
extern void model_bind(TableDecl *table, Oid relid);

/*
 * The declared classes of a schema that create_all and drop_all mean: those
 * of the present user, and of the extension whose script is running.
 */
extern List *declared_defs(const char *schema_name);

/* The name of a relation's owner, or NULL if the relation is gone. */
extern char *relation_owner(Oid relid);

/* Runs a statement as the present user. */
extern void run_statement(const char *sql);

/* The first argument of create_all and drop_all. */
extern char *schema_argument(FunctionCallInfo fcinfo);

#endif							/* PG_ORM_MODEL_DECLARATION_H */

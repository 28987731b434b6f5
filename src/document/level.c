/*-------------------------------------------------------------------------
 *
 * level.c
 *	  The levels of a selection: outputs, document text, what is checked.
 *
 * Everything is in the reader's memory context.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "document/level.h"

/* ------------------------------------------------------------------------
 * outputs
 * ------------------------------------------------------------------------
 */

/* The number of an output of the level, which is added if it is new. */
static int
level_column(Level *level, const LevelColumn *wanted)
{
	for (int i = 0; i < level->ncolumns; i++)
	{
		LevelColumn *column = &level->columns[i];

		if (column->attnum == wanted->attnum && column->cast == wanted->cast &&
			column->function == wanted->function)
			return i;
	}
	level->columns = level->columns == NULL ? palloc(sizeof(LevelColumn)) :
		repalloc(level->columns, (level->ncolumns + 1) * sizeof(LevelColumn));
	level->columns[level->ncolumns] = *wanted;
	return level->ncolumns++;
}

static int
level_field_column(Level *level, SelectionField *field)
{
	LevelColumn column = {
		.attnum = field->attnum,
		.function = field->function,
		.returns_set = field->returns_set,
		.one_row = field->one_row,
		.typid = field->typid
	};

	if (field->returns_set && field->typid == RECORDOID)
		column.typid = RECORDARRAYOID;
	else if (field->returns_set)
		column.typid = get_array_type(field->typid);
	if (!OidIsValid(column.typid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("function \"%s\" returns a set of type %s, which has no array type",
						field->name, format_type_be(field->typid)),
				 selection_errposition(level->selection->text,
									   field->location)));
	return level_column(level, &column);
}

/* ------------------------------------------------------------------------
 * joins
 * ------------------------------------------------------------------------
 */

/* The type that two columns are compared as. */
static Oid
join_type(Oid local, Oid near)
{
	Oid			local_base = getBaseType(local);
	Oid			near_base = getBaseType(near);

	if (local_base == near_base ||
		!can_coerce_type(1, &local_base, &near_base, COERCION_IMPLICIT))
		return local_base;
	return near_base;
}

static void
level_join(Level *level, Level *parent, int i)
{
	Relationship *relationship = level->field->relationship;
	LevelJoin  *join = &level->joins[i];
	LevelColumn column = {.attnum = relationship->local_attnums[i]};
	Oid			local_type = TupleDescAttr(parent->model->tupdesc,
										   column.attnum - 1)->atttypid;
	Oid			near_relid = OidIsValid(relationship->secondary) ?
	relationship->secondary : relationship->target;
	Oid			near_type;
	Oid			near_collation;
	int32		typmod;

	join->local = column.attnum;
	join->near = OidIsValid(relationship->secondary) ?
		relationship->secondary_local[i] : relationship->remote_attnums[i];
	get_atttypetypmodcoll(near_relid, join->near, &near_type, &typmod,
						  &near_collation);
	join->typid = join_type(local_type, near_type);
	join->collation =
		relationship->direction == RELATIONSHIP_MANY_TO_ONE ? near_collation :
		TupleDescAttr(parent->model->tupdesc, column.attnum - 1)->attcollation;
	join->collate = collate_clause(join->collation, near_collation);
	column.typid = join->typid;
	if (getBaseType(local_type) != join->typid)
		column.cast = join->typid;
	join->parent_column = level_column(parent, &column);
}

static void
level_joins(Level *level, Level *parent)
{
	KeyTableColumn *columns;

	level->njoin = level->field->relationship->nlocal;
	level->joins = palloc0(level->njoin * sizeof(LevelJoin));
	columns = palloc(level->njoin * sizeof(KeyTableColumn));
	for (int i = 0; i < level->njoin; i++)
	{
		level_join(level, parent, i);
		columns[i].typid = level->joins[i].typid;
		columns[i].collation = level->joins[i].collation;
	}
	level->keys = key_table_create(level->njoin, columns,
								   level->reader->context);
}

/* The root is found by its primary key as if that were a join. */
static void
level_key_joins(Level *level)
{
	Model	   *model = level->model;
	KeyTableColumn *columns = palloc(model->nkeys * sizeof(KeyTableColumn));

	level->njoin = model->nkeys;
	level->joins = palloc0(level->njoin * sizeof(LevelJoin));
	for (int i = 0; i < level->njoin; i++)
	{
		LevelJoin  *join = &level->joins[i];

		join->near = model->keys[i].attnum;
		join->typid = columns[i].typid = getBaseType(model->keys[i].typid);
		join->collation = columns[i].collation = model->keys[i].collation;
		join->collate = "";
	}
	level->keys = key_table_create(level->njoin, columns,
								   level->reader->context);
}

/* ------------------------------------------------------------------------
 * document text
 * ------------------------------------------------------------------------
 */
static const char *
json_key(const char *key)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	render_string(&buffer, key, strlen(key));
	appendStringInfoChar(&buffer, ':');
	return buffer.data;
}

/* The fields of an unnested child that has no row. */
static char *
null_text(Selection *selection)
{
	StringInfoData buffer;
	ListCell   *cell;

	initStringInfo(&buffer);
	foreach(cell, selection->fields)
	{
		SelectionField *field = lfirst(cell);

		if (field->hidden)
			continue;
		if (buffer.len > 0)
			appendStringInfoChar(&buffer, ',');
		if (field->unnest)
			appendStringInfoString(&buffer, null_text(field->child));
		else
			appendStringInfo(&buffer, "%s%s", json_key(field->key),
							 field->kind == FIELD_RELATIONSHIP &&
							 field->relationship->uselist &&
							 field->relationship->direction !=
							 RELATIONSHIP_MANY_TO_ONE ? "[]" : "null");
	}
	return buffer.data;
}

static void
level_step(Level *level, SelectionField *field, int column,
		   Renderer *renderer, Level *child)
{
	LevelStep  *step = &level->steps[level->nsteps];
	const char *comma = level->nsteps > 0 ? "," : "";

	step->kind = child != NULL ? STEP_CHILD :
		field->kind == FIELD_ETAG ? STEP_ETAG : STEP_VALUE;
	step->prefix = field->unnest ? comma :
		psprintf("%s%s", comma, json_key(field->key));
	step->prefix_length = strlen(step->prefix);
	step->column = column;
	step->renderer = renderer;
	step->child = child;
	step->unnest = field->unnest;
	if (field->unnest)
		step->null_text = null_text(field->child);
	if (step->kind != STEP_VALUE)
		level->nholes++;
	level->nsteps++;
}

static void
level_check(Level *level, int column, Renderer *renderer, Level *child)
{
	LevelCheck *check = &level->checks[level->nchecks++];

	check->column = column;
	check->renderer = renderer;
	check->child = child;
	if (renderer != NULL && !renderer->stable_output)
		level->stable_checks = false;
}

/* ------------------------------------------------------------------------
 * fields
 * ------------------------------------------------------------------------
 */
static void
level_add_child(Level *level, SelectionField *field, bool checked)
{
	Level	   *child = level_create(level->reader, field->child, field,
									 level, checked);

	child->number = level->nchildren;
	level->children[level->nchildren++] = child;
	if (!field->hidden)
		level_step(level, field, -1, NULL, child);
	if (checked)
		level_check(level, -1, NULL, child);
}

static void
level_add_value(Level *level, SelectionField *field, bool checked)
{
	Renderer   *renderer = palloc0(sizeof(Renderer));
	int			column = level_field_column(level, field);

	renderer_init(renderer, level->columns[column].typid,
				  level->reader->context);
	if (!field->hidden)
		level_step(level, field, column, renderer, NULL);
	if (checked)
		level_check(level, column, renderer, NULL);
}

static bool
has_etag_field(Selection *selection)
{
	ListCell   *cell;

	foreach(cell, selection->fields)
	{
		if (((SelectionField *) lfirst(cell))->kind == FIELD_ETAG)
			return true;
	}
	return false;
}

/*
 * Nothing but a key of one integer orders the rows of most collections: that
 * is done as they are put to their parents, and costs no sort of all of them.
 */
static void
level_order_by_key(Level *level)
{
	Model	   *model = level->model;
	LevelColumn column = {.attnum = model->keys[0].attnum};

	column.typid = getBaseType(TupleDescAttr(model->tupdesc,
											 column.attnum - 1)->atttypid);
	if (level->field->order_by == NULL &&
		level->field->relationship->order_by == NULL &&
		level->field->limit < 0 && level->field->offset <= 0 &&
		model->nkeys == 1 &&
		(model->relkind == RELKIND_RELATION ||
		 model->relkind == RELKIND_PARTITIONED_TABLE) &&
		is_integer_type(column.typid))
		level->order_column = level_column(level, &column);
}

Level *
level_create(Reader *reader, Selection *selection, SelectionField *field,
			 Level *parent, bool digest)
{
	Level	   *level = palloc0(sizeof(Level));
	int			n = list_length(selection->fields);
	ListCell   *cell;

	check_stack_depth();
	level->reader = reader;
	level->selection = selection;
	level->field = field;
	level->model = selection->model;
	level->to_one = field != NULL &&
		(field->relationship->direction == RELATIONSHIP_MANY_TO_ONE ||
		 !field->relationship->uselist);
	level->unnest = field != NULL && field->unnest;
	level->order_column = -1;
	level->digest = digest || has_etag_field(selection);
	level->stable_checks = true;
	level->steps = palloc0(n * sizeof(LevelStep));
	level->checks = palloc0(n * sizeof(LevelCheck));
	level->children = palloc0(n * sizeof(Level *));
	if (parent != NULL)
		level_joins(level, parent);
	else if (reader->request.by_keys)
		level_key_joins(level);

	foreach(cell, selection->fields)
	{
		SelectionField *f = lfirst(cell);
		bool		checked = level->digest && !selection->nocheck &&
		!f->nocheck && f->kind != FIELD_FUNCTION;

		if (f->hidden && !checked)
			continue;
		if (f->kind == FIELD_RELATIONSHIP)
			level_add_child(level, f, checked);
		else if (f->kind == FIELD_ETAG)
			level_step(level, f, -1, NULL, NULL);
		else
			level_add_value(level, f, checked);
	}
	if (!level->to_one && field != NULL)
		level_order_by_key(level);
	level->lengths = palloc((level->nholes + 1) * sizeof(int));
	return level;
}

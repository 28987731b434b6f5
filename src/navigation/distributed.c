/*-------------------------------------------------------------------------
 *
 * distributed.c
 *	  Tables that are distributed by Citus.
 *
 * An inlined SQL function over a distributed table, used in a sub-select,
 * silently reads the empty shell table on the coordinator.  Where Citus is
 * present the navigation functions that read tables therefore contain a call
 * of orm.not_distributed(tables).  It is declared immutable, so that the
 * planner evaluates it whenever it makes a plan of the inlined query: it is
 * either true and vanishes, or it raises.  The plan of a query depends on
 * the tables that it reads and is made anew when they are distributed.
 *
 * An event trigger makes the functions anew when Citus is created later.
 *
 * No memory is kept and no lock but on Citus' catalog is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_namespace.h"
#include "commands/event_trigger.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "navigation/internal.h"

#define CITUS_CATALOG "pg_dist_partition"

bool
citus_is_present(void)
{
	return OidIsValid(get_relname_relid(CITUS_CATALOG,
										PG_CATALOG_NAMESPACE));
}

static bool
is_distributed(Oid relid)
{
	Oid			catalog = get_relname_relid(CITUS_CATALOG,
											PG_CATALOG_NAMESPACE);
	AttrNumber	attnum;
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	if (!OidIsValid(catalog))
		return false;
	attnum = get_attnum(catalog, "logicalrelid");
	if (attnum == InvalidAttrNumber)
		return false;

	rel = table_open(catalog, AccessShareLock);
	ScanKeyInit(&key, attnum, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
refuse_distributed(Oid relid)
{
	if (is_distributed(relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot navigate to or from distributed table \"%s\"",
						get_rel_name(relid)),
				 errdetail("A query of a shard cannot call the function, and elsewhere it would read the empty local table."),
				 errhint("Use orm.find, orm.query, or a join.")));
}

PG_FUNCTION_INFO_V1(orm_not_distributed);
Datum
orm_not_distributed(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	ArrayIterator iterator = array_create_iterator(array, 0, NULL);
	Datum		value;
	bool		isnull;

	while (array_iterate(iterator, &value, &isnull))
	{
		if (!isnull)
			refuse_distributed(DatumGetObjectId(value));
	}
	array_free_iterator(iterator);
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(orm_extension_created);
Datum
orm_extension_created(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("orm.extension_created must be called as an event trigger")));
	if (!IsBinaryUpgrade && !navigation_restoring() && citus_is_present())
		navigation_functions_follow();
	PG_RETURN_NULL();
}

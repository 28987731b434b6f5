/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *	  Plans that are run under the snapshot of the statement around them.
 *
 * To a snapshot from before, a table that another transaction has rewritten
 * or truncated looks empty (PostgreSQL's manual, "Caveats" of concurrency
 * control).  A join has locked its tables when it takes its snapshot; we lock
 * them when they are first looked at, which may be too late.  Then it has to
 * be an error, since nothing would tell the result from a right one.
 *
 * VACUUM FULL and CLUSTER keep who wrote a row, and REFRESH MATERIALIZED VIEW
 * shows its rows to everybody; so that a table has another file is not enough.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "model/snapshot.h"

/* Did the relation of then have its rows somewhere else? */
static bool
had_other_file(Oid relid, Oid file, Snapshot snapshot)
{
	Relation	classes = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		other;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(classes, ClassOidIndexId, true, snapshot, 1,
							  &key);
	tuple = systable_getnext(scan);
	other = HeapTupleIsValid(tuple) &&
		((Form_pg_class) GETSTRUCT(tuple))->relfilenode != file;
	systable_endscan(scan);
	table_close(classes, AccessShareLock);
	return other;
}

/*
 * Whoever rewrites or truncates a table has written its first row, or somebody
 * who came later has.
 */
static bool
first_row_is_older(Oid relid, Snapshot snapshot)
{
	Relation	table = table_open(relid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TableScanDesc scan = table_beginscan(table, SnapshotAny, 0, NULL);
	bool		older = false;

	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		should_free;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, true, &should_free);
		TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

		older = !XidInMVCCSnapshot(xmin, snapshot);
		if (should_free)
			heap_freetuple(tuple);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, NoLock);
	return older;
}

static void
check_relation(Oid relid, Snapshot snapshot)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	TransactionId xmin;
	Oid			file;

	if (!HeapTupleIsValid(tuple))
		return;
	xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);

	/* most changes of that row leave the file as it is */
	if (XidInMVCCSnapshot(xmin, snapshot) &&
		had_other_file(relid, file, snapshot) &&
		!first_row_is_older(relid, snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" was rewritten while the statement ran",
						get_rel_name(relid)),
				 errhint("Run the statement again.")));
}

void
plan_check_snapshot(SPIPlanPtr plan)
{
	Snapshot	snapshot = GetActiveSnapshot();
	ListCell   *source,
			   *relation;

	if (snapshot->snapshot_type != SNAPSHOT_MVCC)
		return;
	foreach(source, SPI_plan_get_plan_sources(plan))
	{
		CachedPlanSource *statement = lfirst(source);

		foreach(relation, statement->relationOids)
			check_relation(lfirst_oid(relation), snapshot);
	}
}

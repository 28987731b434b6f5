"""Backends whose work is timed, and the alternation of two contenders.

The CPU time is the backend's own, user and system, from the clock that Linux
keeps for each process.  On a machine that does other things as well it is the
figure to trust; the wall time contains what others took.
"""

import dataclasses
import statistics
import threading
import time

import psycopg2


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one run took, in seconds, and what it gave."""
    wall: float
    cpu: float
    result: object = None


class Timings:
    """The samples of one contender."""

    def __init__(self, samples):
        self.wall = [s.wall for s in samples]
        self.cpu = [s.cpu for s in samples]

    def median(self, clock):
        return statistics.median(getattr(self, clock))

    def spread(self, clock):
        """Minimum, median and maximum."""
        values = getattr(self, clock)
        return min(values), statistics.median(values), max(values)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A job's timings: ours, and the reference's."""
    job: object
    count: int
    ours: Timings
    reference: Timings

    def ratio(self, clock):
        """The median of what neighbouring runs are to each other: what else
        the machine does changes from run to run, but hits both."""
        pairs = zip(getattr(self.ours, clock), getattr(self.reference, clock))
        return statistics.median(
            [mine / other for mine, other in pairs if other > 0]
            or [float('nan')])


def cpu_clock(pid):
    """The clock of a process's CPU time (see clock_getcpuclockid)."""
    return ~pid << 3 | 2


class Backend:
    """A connection in autocommit, and its backend's clock."""

    # one core for both, and no time for compiling
    SETTINGS = '-c max_parallel_workers_per_gather=0 -c jit=off'

    def __init__(self, database):
        self.connection = psycopg2.connect(dbname=database,
                                           options=self.SETTINGS)
        self.connection.autocommit = True
        self.pid = self.connection.info.backend_pid
        self.clock = cpu_clock(self.pid)

    def close(self):
        self.connection.close()

    def run(self, statements):
        """Runs them; the first column of the last one's first row, if rows
        are what it gives, or else how many rows it wrote.  Rows stay with
        libpq: this is not about Python's own time."""
        for statement in statements:
            cursor = self.connection.cursor()
            cursor.execute(statement)
        if not statements:
            return None
        return cursor.fetchone()[0] if cursor.description else cursor.rowcount

    def timed(self, statements):
        cpu, wall = time.clock_gettime(self.clock), time.perf_counter()
        result = self.run(statements)
        return Sample(time.perf_counter() - wall,
                      time.clock_gettime(self.clock) - cpu, result)


class MemoryWatch(threading.Thread):
    """The most private memory that a backend has had while watched."""

    def __init__(self, backend):
        super().__init__(daemon=True)
        self.path = f'/proc/{backend.pid}/status'
        self.stopped = threading.Event()
        self.base = self.kilobytes()
        self.peak = self.base

    def kilobytes(self):
        with open(self.path, encoding='ascii') as status:
            for line in status:
                if line.startswith('RssAnon:'):
                    return int(line.split()[1])
        return 0

    def run(self):
        while not self.stopped.wait(0.005):
            self.peak = max(self.peak, self.kilobytes())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()
        self.megabytes = (self.peak - self.base) / 1024


def alternate(job, count, runs, rounds, seconds):
    """Runs ours and the reference in turn, the one that begins changing, at
    least rounds[0] and at most rounds[1] times, until the time is over.

    runs: two functions that return a Sample, ours first.  A first round warms
    up and is not counted; results must be equal if the job says so.
    """
    samples = ([], [])
    began = time.monotonic()
    for turn in range(rounds[1] + 1):
        if turn > rounds[0] and time.monotonic() - began > seconds:
            break
        got = {}
        for which in ((0, 1), (1, 0))[turn % 2]:
            got[which] = runs[which]()
        if job.same_result and got[0].result != got[1].result:
            raise SystemExit(f'{job.name}: results differ: '
                             f'{got[0].result}, {got[1].result}')
        if turn > 0:
            samples[0].append(got[0])
            samples[1].append(got[1])
    return Outcome(job, count, Timings(samples[0]), Timings(samples[1]))

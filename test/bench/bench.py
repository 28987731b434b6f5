#!/usr/bin/python3
"""Times pg_orm beside what it is compared with; called by "make bench".

Makes its databases on the server that the environment names, and writes
RESULTS.md and its plots into a directory; with --only, which is for work on
single jobs, it prints the tables and leaves the files alone.
"""

import argparse
import os
import platform
import sys
import time

import psycopg2

import imdb
import jobs
import measure
import pgbench
import report
import tutorial

ALL_JOBS = (jobs.SQL_JOBS + pgbench.PGBENCH_JOBS + tutorial.TUTORIAL_JOBS
            + imdb.IMDB_JOBS)
DATABASES = ('bench', 'bench_add', 'bench_tutorial', 'bench_sqlalchemy',
             imdb.DATABASE)
GROWTH = (1000, 10000, 100000, 1000000)
ROUNDS = (3, 15)


def say(text):
    print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


def make_databases():
    connection = psycopg2.connect(dbname='postgres')
    connection.autocommit = True
    with connection.cursor() as cursor:
        for database in DATABASES:
            cursor.execute(f'DROP DATABASE IF EXISTS {database} (FORCE)')
            cursor.execute(f'CREATE DATABASE {database}')
    connection.close()
    for database in DATABASES[:2]:
        backend = measure.Backend(database)
        backend.run(('CREATE EXTENSION pg_orm_tutorial CASCADE',))
        backend.close()


def fill(n):
    say(f'filling tables with {n:,} objects')
    backend = measure.Backend('bench')
    jobs.fill(backend, n)
    backend.close()


def fill_imdb(size):
    """Before the time for the jobs is shared out."""
    say('filling the tables of IMDbench, and comparing answers')
    imdb.fill(size)


def run_job(job, n, rounds, seconds):
    opened, runs = job.open(n)
    outcome = measure.alternate(job, n, runs, rounds, seconds)
    for connection in opened:
        connection.close()
    say(f'{job.name}, {n:,}: CPU {outcome.ratio("cpu"):.2f} '
        f'wall {outcome.ratio("wall"):.2f} of {job.against}, '
        f'{len(outcome.ours.cpu)} runs')
    return outcome


def measure_growth(chosen, sizes):
    growth = {job: [] for job in chosen}
    memory = {}
    for n in sizes:
        fill(n)
        for job in chosen:
            growth[job].append((n, run_job(job, n, (1, 3), 1)))
            if n in sizes[-2:]:
                memory[job, n] = job.memory(n)
    return growth, memory


def present(job):
    """Is there the function that the job needs?"""
    if not job.needs:
        return True
    backend = measure.Backend('bench')
    found = backend.run((f"SELECT count(*) FROM pg_proc WHERE oid::regproc"
                         f"::text = '{job.needs}'",))
    backend.close()
    return found > 0


def about(arguments):
    connection = psycopg2.connect(dbname='postgres')
    with connection.cursor() as cursor:
        cursor.execute('SHOW server_version')
        version = cursor.fetchone()[0].split()[0]
    connection.close()
    size = '' if arguments.size == 1 else f', size {arguments.size:g}'
    return (f'PostgreSQL {version}, one core each, JIT off, fsync off, '
            f'{os.cpu_count()} cores ({platform.machine()}), '
            f'SQLAlchemy {tutorial.sqlalchemy.__version__}, '
            f'psycopg2 {psycopg2.__version__.split()[0]}{size}.')


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('output', help='directory for RESULTS.md')
    parser.add_argument('--size', type=float, default=1,
                        help='times the numbers of objects (default 1)')
    parser.add_argument('--minutes', type=float, default=10,
                        help='about how long it may take (default 10)')
    parser.add_argument('--only', nargs='*', metavar='JOB', default=[],
                        help='only jobs whose names begin so')
    parser.add_argument('--no-growth', action='store_true',
                        help='only the table')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    make_databases()
    wanted = [j for j in ALL_JOBS if not arguments.only
              or j.name.startswith(tuple(arguments.only))]
    chosen = [j for j in wanted if present(j)]
    if not chosen:
        sys.exit('no such job; there are '
                 + ', '.join(j.name for j in ALL_JOBS))

    growth, memory = {}, {}
    began = time.monotonic()
    if not arguments.no_growth:
        growth, memory = measure_growth(
            [j for j in chosen if j.growth],
            [n for n in GROWTH if n <= GROWTH[-1] * arguments.size])
    fill(int(1000000 * arguments.size))
    if any(j in imdb.IMDB_JOBS for j in chosen):
        fill_imdb(arguments.size)
    left = max(arguments.minutes * 60 - (time.monotonic() - began), 0)
    outcomes = [run_job(job, max(int(job.count * arguments.size), 10), ROUNDS,
                        left / len(chosen)) for job in chosen]

    print(report.table_text(outcomes))
    if not arguments.only:
        report.write(arguments.output, outcomes, growth, memory,
                     [j.name for j in wanted if j not in chosen],
                     about(arguments))


main()

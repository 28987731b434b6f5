"""The jobs that pgbench runs: many small transactions."""

import dataclasses
import os
import re
import subprocess
import time

import psycopg2

from measure import Sample

STATEMENTS = r"""
SELECT name FROM users WHERE id = :id;
UPDATE users SET age = age + 1 WHERE id = :id;
SELECT age FROM users WHERE id = :id;
"""


def block(begin, commit):
    return f'\\set id random(1, :objects)\n{begin};{STATEMENTS}{commit};\n'


class Postmaster:
    """The CPU time of the backends that have ended."""

    def __init__(self):
        connection = psycopg2.connect(dbname='postgres')
        with connection.cursor() as cursor:
            cursor.execute('SHOW data_directory')
            path = cursor.fetchone()[0] + '/postmaster.pid'
        connection.close()
        with open(path, encoding='ascii') as file:
            self.pid = int(file.readline())

    def ended_cpu(self):
        """Waits until pgbench's backend is reaped."""
        time.sleep(0.2)
        with open(f'/proc/{self.pid}/stat', encoding='ascii') as file:
            fields = file.read().rsplit(')', 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf('SC_CLK_TCK')


@dataclasses.dataclass(frozen=True)
class PgbenchJob:
    """Both run a script (or pgbench's own, TPC-B), with the settings given;
    what is compared is the time of one transaction.  Runs are short, so that
    there are many pairs of them: single ones differ by a fifth."""
    name: str
    label: str
    against: str
    target: float
    protocol: str
    count: int                  # transactions of a run
    ours: str = None
    reference: str = None
    settings_ours: str = ''
    growth: bool = False
    same_result: bool = False
    needs: str = None

    def run(self, script, settings, transactions):
        postmaster = Postmaster()
        before = postmaster.ended_cpu()
        command = ['pgbench', '-n', '-M', self.protocol, '-t',
                   str(transactions), '-D', 'objects=1000']
        if script:
            command += ['-f', '-']
        done = subprocess.run(
            command + ['bench'], input=script, text=True, check=True,
            capture_output=True,
            env=dict(os.environ, PGOPTIONS=settings))
        latency = re.search(r'latency average = ([\d.]+) ms', done.stdout)
        return Sample(float(latency.group(1)) / 1000,
                      (postmaster.ended_cpu() - before) / transactions)

    def open(self, n):
        subprocess.run(['pgbench', '-i', '-q', '-s', '10', 'bench'],
                       check=True, capture_output=True)
        return (), [lambda: self.run(self.ours, self.settings_ours, n),
                    lambda: self.run(self.reference, '', n)]


def begin_commit(protocol):
    return PgbenchJob(
        f'begin_{protocol}',
        f'begin, 3 statements, commit in pgbench, {protocol}',
        'BEGIN, the same, COMMIT', 1.02, protocol, 4000,
        block('CALL orm.begin()', 'CALL orm.commit()'),
        block('BEGIN', 'COMMIT'))


def tpcb(protocol):
    return PgbenchJob(
        f'tpcb_{protocol}',
        f"pgbench's TPC-B with the library loaded, {protocol}",
        'without', 1.0, protocol, 4000,
        settings_ours='-c session_preload_libraries=pg_orm')


PGBENCH_JOBS = (begin_commit('simple'), begin_commit('prepared'),
                tpcb('simple'), tpcb('prepared'))

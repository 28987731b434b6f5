"""RESULTS.md and its plots."""

import math
import os

import plot


def label(outcome):
    return outcome.job.label.replace('{n}', f'{outcome.count:,}')


def milliseconds(seconds):
    value = seconds * 1000
    return f'{value:,.{0 if value >= 100 else 1 if value >= 1 else 3}f}'


def verdict(outcome):
    target = outcome.job.target
    if target is None:
        return ''
    ratio = outcome.ratio('cpu')
    if round(ratio, 2) <= target:
        return 'reached'
    return f'missed by {100 * (ratio / target - 1):.0f} %'


def ratio_table(outcomes):
    lines = ['| job | reference | target | CPU | wall | |',
             '|---|---|---:|---:|---:|---|']
    for outcome in outcomes:
        job = outcome.job
        target = '' if job.target is None else f'{job.target:.2f}'
        lines.append(f'| {label(outcome)} | {job.against} | {target} '
                     f'| {outcome.ratio("cpu"):.2f} '
                     f'| {outcome.ratio("wall"):.2f} | {verdict(outcome)} |')
    return lines


def is_imdb(outcome):
    return outcome.job.name.startswith('imdb_')


def imdb_table(outcomes):
    """By query: microseconds of one call."""
    lines = ['| query | reference | target | pg_orm, CPU | reference, CPU '
             '| CPU | wall | |',
             '|---|---|---:|---:|---:|---:|---:|---|']
    for outcome in outcomes:
        job = outcome.job
        each = [f'{timings.median("cpu") / outcome.count * 1e6:,.0f}'
                for timings in (outcome.ours, outcome.reference)]
        target = '' if job.target is None else f'{job.target:.2f}'
        lines.append(f'| {job.query.name} | {job.against}, {job.protocol} '
                     f'| {target} | {each[0]} | {each[1]} '
                     f'| {outcome.ratio("cpu"):.2f} '
                     f'| {outcome.ratio("wall"):.2f} | {verdict(outcome)} |')
    return lines


def imdb_section(outcomes):
    return ['', '## IMDbench', '',
            'The seven queries of IMDbench, one object with what belongs to '
            'it each, as one call of pg_orm and one round trip. The SQL '
            'written by hand is one statement, too, and SQLAlchemy loads by '
            '`selectinload` and `joinedload`; all three give the same '
            'answers. Microseconds of one call; for the jobs in Python the '
            "client's time is in it, "
            'and pg_orm is called by a prepared statement.', '',
            *imdb_table(outcomes)]


def spread_table(outcomes):
    lines = ['| job | runs | pg_orm, CPU | reference, CPU | pg_orm, wall '
             '| reference, wall |',
             '|---|---:|---:|---:|---:|---:|']
    for outcome in outcomes:
        cells = [' / '.join(milliseconds(s) for s in timings.spread(clock))
                 for clock in ('cpu', 'wall')
                 for timings in (outcome.ours, outcome.reference)]
        lines.append(f'| {label(outcome)} | {len(outcome.ours.cpu)} | '
                     + ' | '.join(cells) + ' |')
    return lines


def growth_table(growth, memory):
    """CPU ratio at each size; the exponent of the last tenfold step; and the
    memory that the job took."""
    sizes = sorted({n for points in growth.values() for n, _ in points})
    lines = ['| job | ' + ' | '.join(f'{n:,}' for n in sizes)
             + ' | exponent, pg_orm | reference | MB | MB at '
             + f'{sizes[-1]:,} |',
             '|---|' + '---:|' * (len(sizes) + 4)]
    for job, points in growth.items():
        by_size = dict(points)
        ratios = [f'{by_size[n].ratio("cpu"):.2f}' if n in by_size else ''
                  for n in sizes]
        exponents = [f'{exponent(points, which):.2f}'
                     for which in ('ours', 'reference')]
        megabytes = [f'{memory[job, n]:.0f}' if (job, n) in memory else ''
                     for n in sizes[-2:]]
        lines.append(f'| {job.label.replace("{n}", "n")} | '
                     + ' | '.join(ratios + exponents + megabytes) + ' |')
    lines[0] = lines[0].replace('| MB |', f'| MB at {sizes[-2]:,} |')
    return lines


def exponent(points, which):
    """Of the power of n that the time grew with in the last step."""
    (n, before), (more, after) = points[-2:]
    times = [getattr(o, which).median('cpu') for o in (after, before)]
    return math.log(times[0] / times[1]) / math.log(more / n)


def notes():
    path = os.path.join(os.path.dirname(__file__), 'NOTES.md')
    with open(path, encoding='utf-8') as file:
        return file.read().splitlines()


def table_text(outcomes):
    imdb = [o for o in outcomes if is_imdb(o)]
    others = [o for o in outcomes if not is_imdb(o)]
    return '\n'.join(ratio_table(others) + [''] + imdb_table(imdb) + ['']
                     + spread_table(outcomes))


def write(directory, outcomes, growth, memory, missing, about):
    """RESULTS.md, ratios.svg and growth.svg."""
    lines = [
        '# Beside hand-written SQL',
        '',
        f'{about} Written by `make bench`.',
        '',
        'Each job is run beside its reference, in turn, in one backend each; '
        'the ratios are medians over pairs of neighbouring runs, and below 1 '
        'pg_orm is faster. "CPU" '
        "is the backend's own CPU time (with the client's for the jobs "
        'against SQLAlchemy), "wall" contains whatever else the machine did.',
        '', '![ratios](ratios.svg)', '']
    imdb = [o for o in outcomes if is_imdb(o)]
    lines += ratio_table([o for o in outcomes if not is_imdb(o)])
    if missing:
        lines += ['', 'Not measured, since it is not there: '
                  + ', '.join(missing) + '.']
    if imdb:
        lines += imdb_section(imdb)
    lines += ['', '## Minimum, median and maximum', '',
              'Milliseconds of one run (of one transaction for pgbench).', '']
    lines += spread_table(outcomes)
    if growth:
        lines += ['', '## Growth', '',
                  'The ratio by CPU time at growing numbers of objects, the '
                  'power of n that the time grew with in the last step, and '
                  'the private memory that a new backend took for the job.',
                  '', '![growth](growth.svg)', '']
        lines += growth_table(growth, memory)
        plot.plot_growth(os.path.join(directory, 'growth.svg'), growth)
    lines += [''] + notes()
    plot.plot_ratios(os.path.join(directory, 'ratios.svg'), [
        (label(o), o.ratio('cpu'), o.job.target) for o in outcomes])
    with open(os.path.join(directory, 'RESULTS.md'), 'w',
              encoding='utf-8') as file:
        file.write('\n'.join(lines) + '\n')

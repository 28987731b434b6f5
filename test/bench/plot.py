"""Plots as SVG, with nothing but text."""

import math
import textwrap
from xml.sax.saxutils import escape

STYLE = ('<style>text{font:12px sans-serif;fill:#333}'
         '.small{font-size:10px}.end{text-anchor:end}.mid{text-anchor:middle}'
         '.grid{stroke:#ddd}.axis{stroke:#888}</style>')
GOOD, BAD, PLAIN = '#2a7f62', '#c8553d', '#5b6c8f'


class Svg:
    def __init__(self, width, height):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}">', STYLE,
            f'<rect width="{width}" height="{height}" fill="#fff"/>']

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
                          f'y2="{y2:.1f}" class="{kind}"/>')

    def text(self, x, y, text, kind=''):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">'
                          f'{escape(text)}</text>')

    def bar(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                          f'height="{height}" fill="{colour}"/>')

    def path(self, points, colour, dashed=False):
        dashes = ' stroke-dasharray="5 4"' if dashed else ''
        self.parts.append(
            '<polyline points="'
            + ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
            + f'" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" '
                       f'fill="{colour}"/>' for x, y in points]

    def write(self, path):
        with open(path, 'w', encoding='utf-8') as file:
            file.write('\n'.join(self.parts + ['</svg>']) + '\n')


def plain(text):
    """A label without its Markdown."""
    return text.replace('`', '')


def plot_ratios(path, rows):
    """A bar for each job: (label, ratio, target), on a logarithmic scale with
    the reference at 1, and a tick for the target."""
    left, right, top, step = 430, 860, 40, 22
    low, high = 0.01, 4
    svg = Svg(right + 60, top + step * len(rows) + 20)
    bottom = top + step * len(rows)

    def x(ratio):
        ratio = min(max(ratio, low), high)
        return left + (right - left) * math.log(ratio / low) / math.log(
            high / low)

    svg.text(10, 16, 'CPU time of pg_orm over that of the reference '
             '(shorter is faster; the tick is the target)')
    for mark in (0.01, 0.03, 0.1, 0.3, 1, 3):
        svg.line(x(mark), top - 4, x(mark), bottom,
                 'axis' if mark == 1 else 'grid')
        svg.text(x(mark), top - 8, f'{mark:g}', 'small mid')
    for i, (label, ratio, target) in enumerate(rows):
        y = top + step * i
        colour = (PLAIN if target is None
                  else GOOD if round(ratio, 2) <= target else BAD)
        svg.text(left - 8, y + 15, plain(label), 'small end')
        svg.bar(left, y + 4, max(x(ratio) - left, 1), step - 8, colour)
        end = x(ratio)
        if target is not None:
            svg.bar(x(target) - 1, y + 1, 2, step - 2, '#222')
            if end < x(target) < end + 30:
                end = x(target)
        svg.text(end + 4, y + 15, f'{ratio:.2f}', 'small')
    svg.write(path)


def plot_growth(path, growth):
    """A small log-log plot for each job, from {job: [(n, Outcome)]}."""
    columns, width, height = 3, 320, 220
    jobs = list(growth)
    rows = -(-len(jobs) // columns)
    svg = Svg(columns * width, rows * height + 24)
    svg.text(10, 16, 'CPU seconds over the number of objects, both '
             'logarithmic; dashed: the reference')
    for i, job in enumerate(jobs):
        plot_one_growth(svg, job, growth[job], 24 + height * (i // columns),
                        width * (i % columns), width, height)
    svg.write(path)


def plot_one_growth(svg, job, points, top, left, width, height):
    x0, x1, y0, y1 = left + 48, left + width - 32, top + 34, top + height - 28
    sizes = [n for n, _ in points]
    times = [t for _, o in points
             for t in (o.ours.median('cpu'), o.reference.median('cpu'))]
    low = math.floor(math.log10(max(min(times), 1e-6)))
    high = max(math.ceil(math.log10(max(times))), low + 1)
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])

    def x(n):
        return x0 + (x1 - x0) * (math.log10(n) - first) / max(last - first, 1)

    def y(seconds):
        exponent = math.log10(max(seconds, 1e-6))
        return y1 - (y1 - y0) * (exponent - low) / (high - low)

    title = textwrap.wrap(plain(job.label.replace('{n}', 'n')), 50)
    for i, line in enumerate(title):
        svg.text((x0 + x1) / 2, y0 - 14 - 12 * (len(title) - 1 - i), line,
                 'small mid')
    for exponent in range(low, high + 1):
        svg.line(x0, y(10 ** exponent), x1, y(10 ** exponent), 'grid')
        svg.text(x0 - 4, y(10 ** exponent) + 4, f'{10 ** exponent:g}',
                 'small end')
    for n in sizes:
        svg.line(x(n), y0, x(n), y1, 'grid')
        svg.text(x(n), y1 + 14, f'{n:,}', 'small mid')
    for which, colour, dashed in (('reference', PLAIN, True),
                                  ('ours', GOOD, False)):
        svg.path([(x(n), y(getattr(o, which).median('cpu')))
                  for n, o in points], colour, dashed)

#!/usr/bin/env python
"""Draw how the networks work: docs/images/diagram-*.svg, light and dark.

Channels and sizes are those of the configs' networks, which are built and run
once. Run it without arguments, from anywhere, where MMPose is installed.
"""
from html import escape
from itertools import accumulate
from pathlib import Path

import torch

from lgm_pose_plugin.models.builder import build_model, load_config
from lgm_pose_plugin.models.layers import LARM
from lgm_pose_plugin.setup_env import set_up_mmpose

OUT = Path(__file__).resolve().parents[1] / 'docs' / 'images'

STYLE = """
.page { fill: #ffffff; stroke: #d0d7de }
text { font: 14px -apple-system, "Segoe UI", Roboto, Helvetica, Arial,
  sans-serif; fill: #1f2328; text-anchor: middle }
.small { font-size: 12px; fill: #57606a }
.title { font-size: 17px; font-weight: 600 }
.bold { font-weight: 600 }
.left { text-anchor: start }
.right { text-anchor: end }
.line { fill: none; stroke: #57606a; stroke-width: 1.6 }
.dashed { stroke-dasharray: 5 4 }
.head { fill: #57606a }
.box { stroke-width: 1.4 }
.io { fill: #f6f8fa; stroke: #8c959f }
.conv { fill: #ddf4ff; stroke: #218bff }
.mix { fill: #fff1e5; stroke: #e16f24 }
.up { fill: #dafbe1; stroke: #2da44e }
.fuse { fill: #fbefff; stroke: #a475f9 }
.out { fill: #ffebe9; stroke: #fa4549 }
.frame { fill: none; stroke: #8c959f; stroke-dasharray: 3 3 }
.c0 { fill: #54aeff } .c1 { fill: #fb8f44 } .c2 { fill: #4ac26b }
.c3 { fill: #c297ff }
.cell { stroke: #ffffff; stroke-width: 1.5 }
.ink { fill: #1f2328 }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; stroke: #30363d }
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .line { stroke: #9198a1 }
  .head { fill: #9198a1 }
  .io { fill: #21262d; stroke: #6e7681 }
  .conv { fill: #0c2d6b; stroke: #388bfd }
  .mix { fill: #5a1e02; stroke: #db6d28 }
  .up { fill: #033a16; stroke: #2ea043 }
  .fuse { fill: #3c1e70; stroke: #a371f7 }
  .out { fill: #67060c; stroke: #f85149 }
  .cell { stroke: #0d1117 }
  .frame { stroke: #6e7681 }
  .ink { fill: #1f2328 }
}
"""


class Drawing:
    """A picture of boxes, arrows, cells and texts, in pixels.

    Args:
        width (int): Width of the picture.
        height (int): Height of the picture.
        description (str): What it shows, for those who do not see it.
    """

    def __init__(self, width, height, description):
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} '
            f'{height}" width="{width}" height="{height}" role="img">',
            f'<title>{escape(description)}</title>', f'<style>{STYLE}</style>',
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" '
            'markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
            '<path class="head" d="M0 0 L10 5 L0 10 z"/></marker>',
            f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" '
            f'height="{height - 1}" rx="8"/>'
        ]

    def text(self, x, y, text, style=''):
        """Write one line whose baseline is y."""
        self.lines.append(
            f'<text x="{x}" y="{y}" class="{style}">{escape(text)}</text>')

    def box(self, x, y, width, height, kind, *texts):
        """A rounded box round (x, y); the first text is bold."""
        self.lines.append(
            f'<rect class="box {kind}" x="{x - width / 2:g}" '
            f'y="{y - height / 2:g}" width="{width}" height="{height}" '
            'rx="6"/>')
        for i, text in enumerate(texts):
            line = y + 5 + 17 * (i - (len(texts) - 1) / 2)
            self.text(x, f'{line:g}', text, 'small' if i else 'bold')

    def frame(self, x, y, width, height):
        """A dashed frame round (x, y)."""
        self.box(x, y, width, height, 'frame')

    def arrow(self, *points, style='', head=True):
        """A line through points, with a head at the end."""
        path = ' L'.join(f'{x:g} {y:g}' for x, y in points)
        end = ' marker-end="url(#head)"' if head else ''
        self.lines.append(f'<path class="line {style}" d="M{path}"{end}/>')

    def circle(self, x, y, sign):
        """An operation of two inputs, as a sign in a circle."""
        self.lines.append(
            f'<circle class="box io" cx="{x:g}" cy="{y:g}" r="13"/>')
        self.text(x, y + 5, sign, 'bold')

    def cell(self, x, y, size, color, text=''):
        """A square of a tensor, with its left top corner."""
        self.lines.append(
            f'<rect class="cell c{color}" x="{x:g}" y="{y:g}" width="{size}" '
            f'height="{size}" rx="3"/>')
        if text:
            self.text(f'{x + size / 2:g}', f'{y + size / 2 + 5:g}', text,
                      'bold ink')

    def save(self, name):
        """Write the picture to docs/images."""
        text = '\n'.join([*self.lines, '</svg>', ''])
        (OUT / f'diagram-{name}.svg').write_text(text)


def measure(network):
    """Run a network of the zoo on an empty image of 256x192.

    Args:
        network (str): Its short name.

    Returns:
        tuple[dict, dict]: By the name of each layer, ``(C, H, W)`` of its
        output, and height and width of a patch where it is a LARM.
    """
    model = build_model(load_config(network))
    shapes = {}

    def note(name):

        def hook(module, inputs, output):
            if isinstance(output, torch.Tensor):
                shapes[name] = tuple(output.shape[1:])

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(note(name))
    with torch.no_grad():
        model(torch.zeros(1, 3, 256, 192), None, mode='tensor')
    return shapes, {
        name: module.patch_size
        for name, module in model.named_modules() if isinstance(module, LARM)
    }


def size(shape):
    """Height and width of a map as text."""
    return '{1}x{2}'.format(*shape)


def channels(shape):
    """Channels of a map as text."""
    return f'{shape[0]} channels'


def draw_lgm_pose(shapes, patches):
    """The whole network: backbone down, neck up, skips across."""
    drawing = Drawing(
        960, 640, 'LGM-Pose: the backbone halves the map five times; the neck '
        'doubles it three times and fuses maps of the backbone into it')
    rows = [110, 215, 325, 435, 545]
    left, right, neck, fusion = 190, 400, 630, 850
    layers = [shapes[f'backbone.layers.{i}'] for i in range(10)]
    titles = [
        'conv 3x3, stride 2', 'MV2', 'MV2, stride 2', '2 x MV2',
        'MV2, stride 2', 'MobileViM', 'MV2, stride 2', 'MobileViM',
        'MV2, stride 2', 'MobileViM'
    ]
    drawing.box(left, 40, 170, 34, 'io', 'image, 256x192')
    drawing.arrow((left, 57), (left, rows[0] - 26))
    for i, (title, shape) in enumerate(zip(titles, layers)):
        x, y = (left, right)[i % 2], rows[i // 2]
        if title == 'MobileViM':
            h, w = patches[f'backbone.layers.{i}.larm']
            drawing.box(x, y, 170, 64, 'mix', title, channels(shape),
                        f'patches of {h}x{w}')
        else:
            drawing.box(x, y, 170, 52, 'conv', title, channels(shape))
    for level, y in enumerate(rows):
        drawing.text(85, y - 3, f'1/{2 ** (level + 1)}', 'bold right')
        drawing.text(85, y + 14, size(layers[2 * level]), 'small right')
        drawing.arrow((left + 85, y), (right - 85, y))
        if level < 4:
            below = rows[level + 1]
            turn = below - 46
            drawing.arrow((right, y + (26 if level < 2 else 32)),
                          (right, turn), (left - 40, turn),
                          (left - 40, below - 26))
    # The neck, from below: a deconvolution stands between two sizes.
    stands = [490, 380, 270]
    drawing.arrow((right + 85, rows[4]), (neck, rows[4]), (neck, 518))
    for i, y in enumerate(stands):
        drawing.box(neck, y, 170, 52, 'up', 'deconv 3x3, stride 2',
                    channels(shapes[f'neck.deconvs.{i}']))
    for i, y in enumerate((rows[3], rows[2])):
        drawing.box(fusion, y, 150, 64, 'fuse', 'SFusion',
                    channels(shapes[f'neck.fusions.{i}']), 'of three maps')
        drawing.arrow((neck + 85, stands[i] - 11), (fusion, stands[i] - 11),
                      (fusion, y + 34))
        drawing.arrow((fusion, y - 32), (fusion, stands[i + 1] + 11),
                      (neck + 87, stands[i + 1] + 11))
        drawing.arrow((right + 85, y + 8), (fusion - 77, y + 8))
        drawing.arrow((left + 40, y - 26), (left + 40, y - 40),
                      (right + 105, y - 40), (right + 105, y - 8),
                      (fusion - 77, y - 8))
    head = shapes['head.final_layer']
    drawing.arrow((neck, 244), (neck, 168))
    drawing.box(neck, 140, 170, 52, 'out', 'conv 1x1',
                f'{head[0]} heat maps, {size(head)}')
    drawing.text(neck + 115, 45, "MV2: MobileNetV2's inverted residual",
                 'small')
    drawing.text(left + 105, 615, 'backbone: MobileViM', 'title')
    drawing.text(neck + 105, 615, 'neck: SFusion', 'title')
    drawing.save('lgm-pose')


def draw_mobilevim(shapes, patches):
    """One block, with the numbers of the first."""
    name, (h, w) = min(patches.items())
    block = name.rpartition('.')[0]
    shape, (dims, height, width) = shapes[block], shapes[name]
    drawing = Drawing(
        960, 230, 'MobileViM block: convolutions, LARM, a convolution, and a '
        'second path that keeps the input')
    y, step = 130, 150
    drawing.text(50, y - 12, channels(shape), 'small')
    drawing.text(50, y + 22, size(shape), 'small')
    drawing.arrow((10, y), (128, y))
    steps = [('conv', 'conv 3x3', shape[0]), ('conv', 'conv 1x1', dims),
             ('mix', 'LARM', dims), ('conv', 'conv 1x1', shape[0])]
    for i, (kind, title, out) in enumerate(steps):
        x = 185 + step * i
        drawing.box(x, y, 110, 58, kind, title, f'{out} channels')
        drawing.arrow((x + 55, y), (x + (93 if i < 3 else 80), y))
    join = 185 + step * 3 + 95
    drawing.circle(join, y, 'C')
    drawing.text(join, y + 34, f'{2 * shape[0]} channels', 'small')
    drawing.arrow((105, y), (105, 55), (join, 55), (join, y - 15))
    drawing.text((105 + join) / 2, 46, 'the input, unchanged', 'small')
    drawing.arrow((join + 13, y), (join + 45, y))
    drawing.box(join + 102, y, 110, 58, 'conv', 'conv 1x1', channels(shape))
    drawing.arrow((join + 157, y), (join + 205, y))
    drawing.text(
        480, 206, f'The block at 1/8 of 256x192: LARM mixes N = '
        f'{height * width // (h * w)} patches of P = {h * w} pixels. '
        'C joins channels.', 'small')
    drawing.save('mobilevim')


def draw_larm():
    """The three transformations, on a map of 6x4 with patches of 2x2."""
    rows, cols, side, cell = 3, 2, 2, 30
    pixels, patches = side * side, rows * cols
    drawing = Drawing(
        960, 410, "LARM's transformations: a map becomes rows of one pixel "
        'position over all patches, then rows of one patch, then a map')

    def grid(x, y, height, width, entry):
        for i in range(height):
            for j in range(width):
                patch, pixel = entry(i, j)
                drawing.cell(x + cell * j, y + cell * i, cell, pixel,
                             str(patch + 1))

    def of_map(i, j):
        return (i // side * cols + j // side, i % side * side + j % side)

    top = 110

    def picture(x, entry, height, width, shape, what):
        y = top + (rows * side - height) * cell / 2
        grid(x, y, height, width, entry)
        drawing.text(x + width * cell / 2, top + 215, shape, 'bold')
        drawing.text(x + width * cell / 2, top + 235, what, 'small')

    middle = top + rows * side * cell / 2
    places = [30, 270, 570, 810]
    picture(places[0], of_map, rows * side, cols * side, '(d, H, W)', 'a map')
    picture(places[1], lambda i, j: (j, i), pixels, patches, '(d, P, N)',
            'a row: one pixel of each patch')
    picture(places[2], lambda i, j: (i, j), patches, pixels, '(d, N, P)',
            'a row: one patch')
    picture(places[3], of_map, rows * side, cols * side, '(d, H, W)', 'a map')
    ends = [
        places[0] + cols * side * cell, places[1] + patches * cell,
        places[2] + pixels * cell
    ]
    for i, end in enumerate(ends):
        start, stop = end + 8, places[i + 1] - 8
        drawing.arrow((start, middle), (stop, middle))
        drawing.text((start + stop) / 2, middle - 12, f'NPT-Op. {i + 1}',
                     'bold')
    mlps = [(places[1], patches, 'MLP over N', 'global: all patches'),
            (places[2], pixels, 'MLP over P', 'local: inside a patch')]
    for x, width, text, what in mlps:
        center = x + width * cell / 2
        drawing.box(center, 52, 160, 46, 'mix', text, what)
        drawing.arrow((center, 75), (center, 103))
    drawing.text(
        480, 373, 'An MLP is LayerNorm, a linear layer, GELU and a linear '
        'layer; its input is added to its output.', 'small')
    drawing.text(
        480, 395, 'Drawn: N = 6 patches (numbers) of P = 4 pixels (colours). '
        'Both MLPs act on rows, with the same weights in every row and '
        'channel.', 'small')
    drawing.save('larm')


def draw_sfusion(shapes):
    """Concatenation, shuffle and grouped convolution, with few channels."""
    parts = [
        shapes['neck.deconvs.0'][0], shapes['backbone.layers.7'][0],
        shapes['backbone.layers.6'][0]
    ]
    total = shapes['neck.fusions.0'][0]
    unit = total // 16
    counts = [part // unit for part in parts]
    assert sum(counts) == 16 and sum(parts) == total
    drawing = Drawing(
        960, 400, 'SFusion: three maps are concatenated, their channels '
        'shuffled, and a convolution sees pairs of channels')
    cell, gap, x0 = 34, 8, 150
    colors = [0] * counts[0] + [1] * counts[1] + [2] * counts[2]
    starts = [0, *accumulate(counts)][:3]
    names = ('deconv', 'MobileViM', 'MV2')
    pitch = cell + gap

    def place(i):
        return x0 + pitch * i

    for start, count, part, name in zip(starts, counts, parts, names):
        drawing.text(
            place(start) + (pitch * count - gap) / 2, 36,
            f'{name}, {part} channels', 'bold')
    drawing.text(130, 72, 'concatenation', 'right')
    drawing.text(130, 192, 'channel shuffle', 'right')
    drawing.text(130, 276, '3x3 convolution', 'right')
    drawing.text(130, 294, f'of {total // 2} groups', 'small right')
    drawing.text(130, 342, 'BN, ReLU', 'right')
    for i in range(16):
        target = 2 * (i % 8) + i // 8
        drawing.cell(place(i), 50, cell, colors[i], str(i + 1))
        drawing.cell(place(target), 170, cell, colors[i], str(i + 1))
        drawing.arrow((place(i) + cell / 2, 88),
                      (place(target) + cell / 2, 166))
    for pair in range(8):
        center = place(2 * pair) + cell + gap / 2
        drawing.box(center, 278, 2 * cell + gap - 4, 36, 'fuse', '3x3')
        for side in (-1, 1):
            x = center + side * pitch / 2
            drawing.arrow((x, 208), (x, 256))
            drawing.arrow((x, 296), (x, 320))
            drawing.cell(x - cell / 2, 324, cell, 3)
    drawing.text(
        x0 + (16 * pitch - gap) / 2, 384, f'Drawn: 16 channels in place of '
        f'{total}. The first half meets the second half in pairs.', 'small')
    drawing.save('sfusion')


def draw_lapx(shapes):
    """Stages with feedback, one hourglass and one block."""
    shape = shapes['backbone.stem']
    keypoints = shapes['backbone.stages.0.score'][0]
    drawing = Drawing(
        960, 850, 'LAPX: a stem and three hourglasses; scores and features of '
        'a stage are added to the input of the next')
    drawing.text(480, 36, 'Three stages, whose heat maps are fed back',
                 'title')
    y, places = 120, (330, 570, 810)
    drawing.box(65, y, 90, 44, 'io', 'image', '256x192')
    drawing.arrow((110, y), (133, y))
    drawing.box(185, y, 100, 58, 'conv', 'stem', channels(shape), size(shape))
    drawing.arrow((235, y), (263, y))
    for i, x in enumerate(places):
        drawing.box(x, y, 130, 80, 'mix', f'stage {i + 1}',
                    'hourglass, block,', '1x1, ECA-CBAM')
        drawing.arrow((x, y + 40), (x, 188))
        drawing.box(x, 212, 130, 46, 'out', 'score, 1x1',
                    f'{keypoints} heat maps')
        if i < 2:
            plus = x + 130
            drawing.arrow((x + 65, y), (plus - 15, y))
            drawing.text(x + 90, y - 8, '1x1', 'small')
            drawing.circle(plus, y, '+')
            drawing.arrow((plus + 13, y), (places[i + 1] - 67, y))
            drawing.arrow((x + 65, 212), (plus, 212), (plus, y + 15))
            drawing.text(plus + 7, 170, '1x1', 'small left')
            start = x - 80
            drawing.arrow((start, y), (start, 62), (plus, 62), (plus, y - 15))
    drawing.text(places[2], 255, 'the prediction', 'small')
    drawing.text(places[0] - 75, 56, "a stage's input is added, too",
                 'small left')

    drawing.text(480, 312, 'An hourglass: 13 soft-gated blocks B', 'title')
    maps, inner = [shape], 'backbone.stages.0.features.0'
    while inner + '.down' in shapes:
        maps.append(shapes[inner + '.down'])
        inner += '.inner'
    top, step, shift = 355, 52, 72
    for level, one in enumerate(maps):
        y = top + step * level
        left, right = 100 + shift * level, 860 - shift * level
        drawing.text(64, y + 5, size(one), 'small right')
        if level:
            drawing.box(left - 35, y, 34, 26, 'up', 'B')
            drawing.box(right + 43, y, 34, 26, 'up', 'B')
            drawing.arrow((left - shift, y - step), (left - shift, y),
                          (left - 54, y))
            drawing.arrow((right + 60, y), (right + shift, y),
                          (right + shift, y - step + 15))
            drawing.text(left - shift - 6, y - 12, 'pool', 'small right')
            drawing.text(right + shift + 6, y - 12, 'repeat pixels',
                         'small left')
        if level < len(maps) - 1:
            drawing.arrow((left - (18 if level else 30), y), (461, y))
            drawing.box(480, y, 34, 26, 'up', 'B')
            drawing.arrow((497, y), (right - 15, y))
            drawing.circle(right, y, '+')
            drawing.arrow((right + 13, y), (right + (24 if level else 60), y))
        else:
            drawing.arrow((left - 18, y), (left + 7, y))
            drawing.box(left + 26, y, 34, 26, 'up', 'B')
            drawing.arrow((left + 43, y), (left + 60, y))
            drawing.box(left + 118, y, 114, 34, 'mix', 'ECA-Non-Local')
            drawing.arrow((left + 175, y), (right + 24, y))
    y = top + step * len(maps) + 2
    drawing.text(480, y, 'stage 2 has ECA in place of ECA-Non-Local', 'small')

    drawing.text(480, 680, 'A soft-gated block B', 'title')
    y, middle = 780, shape[0] // 2
    assert shapes['backbone.stages.0.features.0.lateral.branch.2'][0] == middle
    drawing.text(70, y - 10, channels(shape), 'small')
    drawing.arrow((20, y), (148, y))
    steps = [('BN, ELU, conv 1x1', middle), ('BN, ELU, depthwise 3x3', middle),
             ('BN, ELU, conv 1x1', shape[0])]
    for i, (title, out) in enumerate(steps):
        x = 240 + 225 * i
        drawing.box(x, y, 180, 52, 'conv', title, f'{out} channels')
        drawing.arrow((x + 90, y), (x + (133 if i < 2 else 105), y))
    plus = 240 + 450 + 120
    drawing.circle(plus, y, '+')
    drawing.arrow((plus + 13, y), (plus + 80, y))
    drawing.arrow((125, y), (125, 722), (plus, 722), (plus, y - 15))
    drawing.box(465, 722, 250, 30, 'fuse', 'times a learnt gate per channel')
    drawing.save('lapx')


def main():
    """Draw all pictures."""
    set_up_mmpose()
    shapes, patches = measure('lgm-pose')
    draw_lgm_pose(shapes, patches)
    draw_mobilevim(shapes, patches)
    draw_larm()
    draw_sfusion(shapes)
    draw_lapx(measure('lapx')[0])


if __name__ == '__main__':
    main()

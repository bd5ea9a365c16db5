// Two boxes to move and to resize, by pointer or by arrow keys.
function render({ model, el }) {
  const [width, height] = model.get('size'), names = ['Box A', 'Box B'], smallest = 4
  const numbers = figures('In pixels', { a: 'Area of A', b: 'Area of B', intersection: 'Intersection', union: 'Union',
    iou: 'IoU', dice: 'Dice' })
  const stage = svg('svg', { class: 'sr-stage sr-drag', viewBox: `0 0 ${width} ${height}` })
  const say = frame(el, 'Intersection over union', row(stage, numbers.box),
    note('Drag a box, or its corner to resize it. By keyboard: Tab to a box, arrow keys move it, ' +
      'Shift and arrow keys resize it.'))

  function change(which, dx, dy, resize, [x0, y0, x1, y1] = model.get('boxes')[which]) {
    let box
    if (resize) box = [x0, y0, clamp(x1 + dx, x0 + smallest, width), clamp(y1 + dy, y0 + smallest, height)]
    else {
      const [x, y] = [clamp(x0 + dx, 0, width - x1 + x0), clamp(y0 + dy, 0, height - y1 + y0)]
      box = [x, y, x + x1 - x0, y + y1 - y0]
    }
    put(model, 'boxes', model.get('boxes').map((old, i) => i === which ? box.map(Math.round) : old))
  }

  const parts = names.map((name, which) => {
    const start = resize => event => {
      const box = model.get('boxes')[which], [x, y] = [event.clientX, event.clientY]
      const scale = width/stage.getBoundingClientRect().width, listeners = new AbortController()
      const move = e => change(which, (e.clientX - x)*scale, (e.clientY - y)*scale, resize, box)
      const listen = (kind, what) => window.addEventListener(kind, what, { signal: listeners.signal })
      listen('pointermove', move)
      listen('pointerup', () => listeners.abort())
      listen('pointercancel', () => listeners.abort())
    }
    const onkeydown = event => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key]
      if (!step) return
      event.preventDefault()
      event.stopPropagation()
      change(which, 2*step[0], 2*step[1], event.shiftKey)
    }
    const rect = svg('rect', { class: `sr-box ${which ? 'sr-second' : 'sr-first'}`, tabindex: 0, role: 'button',
      'aria-roledescription': 'movable box', onpointerdown: start(false), onkeydown })
    const corner = svg('circle', { class: 'sr-corner', r: 6, onpointerdown: start(true) })
    const label = svg('text', { 'pointer-events': 'none' }, name.slice(-1))
    return { rect, corner, label }
  })
  const common = svg('rect', { fill: 'none', stroke: 'currentColor', 'stroke-width': 1, 'pointer-events': 'none' })
  stage.append(...parts.map(part => part.rect), common, ...parts.flatMap(part => [part.label, part.corner]))

  function place(rect, [x0, y0, x1, y1]) {
    fill(rect, { x: x0, y: y0, width: Math.max(x1 - x0, 0), height: Math.max(y1 - y0, 0) }, [])
  }

  function draw() {
    const [a, b] = model.get('boxes'), shared = overlap(a, b)
    const intersection = area(shared), union = area(a) + area(b) - intersection
    const iou = ratio(intersection, union), dice = ratio(2*intersection, area(a) + area(b))
    parts.forEach(({ rect, corner, label }, i) => {
      const box = [a, b][i]
      place(rect, box)
      rect.setAttribute('aria-label', `${names[i]}: left ${box[0]}, top ${box[1]}, right ${box[2]}, bottom ${box[3]}`)
      fill(corner, { cx: box[2], cy: box[3] }, [])
      fill(label, { x: box[0] + 5, y: box[1] + 15 }, [])
    })
    place(common, shared[2] > shared[0] && shared[3] > shared[1] ? shared : [0, 0, 0, 0])
    numbers.set({ a: count(area(a)), b: count(area(b)), intersection: count(intersection), union: count(union),
      iou: fixed(iou), dice: fixed(dice) })
    say(`IoU ${fixed(iou)}: ${iou >= 0.5 ? 'a hit' : 'no hit'} where 0.5 is asked for.`)
  }
  return watch(model, ['boxes'], draw)
}

export default { render }

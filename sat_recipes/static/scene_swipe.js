// Two pictures of one place and a divider between them, moved by pointer or by the slider below.
function render({ model, el }) {
  const [left, right] = model.get('names'), colors = model.get('colors')
  const over = image({ src: model.get('left'), alt: left })
  const under = image({ src: model.get('right'), alt: right })
  const divider = html('div', { class: 'sr-divider' })
  const stage = html('div', { class: 'sr-swipe' }, under, over, divider)
  const position = slider(`Divider: ${left} on its left, ${right} on its right`,
    { min: 0, max: 100, step: 1, text: v => `${Math.round(v)} %` },
    v => put(model, 'position', v))
  position.box.classList.add('sr-wide')
  const swatch = color => html('span', { class: 'sr-swatch', style: `background: ${color}` })
  const key = colors.map(([name, color]) => html('span', { class: 'sr-key' }, swatch(color), name))
  const say = frame(el, `${left} and ${right}`, stage, position.box, row(...key))

  const follow = event => {
    const { left: start, width } = stage.getBoundingClientRect()
    put(model, 'position', Math.round(clamp(100*(event.clientX - start)/width, 0, 100)))
  }
  stage.addEventListener('pointerdown', event => {
    stage.setPointerCapture(event.pointerId)
    follow(event)
  })
  stage.addEventListener('pointermove', event => { if (stage.hasPointerCapture(event.pointerId)) follow(event) })

  function draw() {
    const at = model.get('position')
    over.style.clipPath = `inset(0 ${100 - at}% 0 0)`
    divider.style.left = `${at}%`
    position.set(at)
    say(`${left} on the left ${Math.round(at)} %, ${right} on the rest.`)
  }
  return watch(model, ['position'], draw)
}

export default { render }

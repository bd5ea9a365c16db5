/* Brings the widgets of a page to life with no kernel: each is an ES module that is stored with its data in the page.
   What a module asks of Jupyter is four functions on its data, and these are here. */
(() => {
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]'

  function modelOf(state) {
    const listeners = new Map()
    const heard = name => listeners.get(name) ?? listeners.set(name, new Set()).get(name)
    return {
      get: name => state[name],
      set(name, value) {
        if (state[name] === value) return
        state[name] = value
        heard(`change:${name}`).forEach(listener => listener())
      },
      save_changes() {},
      on: (name, listener) => heard(name).add(listener),
      off: (name, listener) => heard(name).delete(listener),
    }
  }

  async function mount(view, models) {
    const entry = models[JSON.parse(view.textContent).model_id]
    if (!entry?.state._esm) return
    const { state } = entry
    entry.model ??= modelOf(state) // two views of one widget move together
    const module = URL.createObjectURL(new Blob([state._esm], { type: 'text/javascript' }))
    const el = document.createElement('div')
    const style = document.createElement('style')
    style.textContent = state._css ?? ''
    view.after(style, el)
    const { default: widget } = await import(module)
    await widget.render({ model: entry.model, el })
    URL.revokeObjectURL(module)
  }

  document.addEventListener('DOMContentLoaded', () => {
    const found = document.querySelector(STATE)
    const models = found ? JSON.parse(found.textContent).state : {}
    document.querySelectorAll(VIEW).forEach(view => mount(view, models))
  })
})()

// Site search where a page is opened from a folder. Browsers start no Worker from file://, so the theme's
// search script is run in a hidden frame instead, which answers by messages as a Worker would.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const inside = this.frame.contentWindow
      inside.postMessage = data => this.answer(data)
      this.ready = new Promise((done, failed) => {
        const script = inside.document.createElement("script")
        script.src = new URL(url, location.href)
        script.onload = done
        script.onerror = failed
        inside.document.body.appendChild(script)
      })
    }

    answer(data) {
      const event = new MessageEvent("message", { data })
      this.dispatchEvent(event)
      if (this.onmessage) this.onmessage(event)
    }

    postMessage(data) {
      const inside = this.frame.contentWindow
      this.ready.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
}

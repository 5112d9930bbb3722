// Headrace feedback. Attributes: model, prediction; optional: endpoint (default: where this script is from), api-key, user,
// version, correction (asks for the right answer after thumbs down); texts: up, down, ask, submit, thanks, failed.
(() => {
  "use strict";
  const script = document.currentScript;
  const home = script && script.src ? new URL(".", script.src).href : location.origin + "/";
  const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  const set = (element, attributes) => {
    for (const name in attributes) element.setAttribute(name, attributes[name]);
  };
  const make = (tag, attributes, text) => {
    const made = document.createElement(tag);
    set(made, attributes);
    if (text) made.textContent = text;
    return made;
  };
  const hand = (way) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS(svg.namespaceURI, "path");
    set(svg, { viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true" });
    const thumb = "M3 10h4v10H3zM7 10l4-7c2 0 3 1 2.5 3L13 9h6c1 0 2 1 1.7 2l-1.5 7c-.2 1-1 2-2 2H7z";
    set(path, { d: thumb, stroke: "currentColor", transform: way === "down" ? "rotate(180 12 12)" : "" });
    svg.append(path);
    return svg;
  };
  class HeadraceFeedback extends HTMLElement {
    connectedCallback() {
      if (this.firstChild) return;
      const button = (way, label) => {
        const made = make("button", { type: "button", "aria-label": label, title: label });
        made.append(hand(way));
        made.addEventListener("click", () => this.thumbs(way));
        return made;
      };
      const group = make("div", { role: "group", "aria-label": "Feedback" });
      this.buttons = {
        up: button("up", this.say("up", "Good answer")),
        down: button("down", this.say("down", "Bad answer")),
      };
      this.status = make("span", { role: "status" });
      group.append(this.buttons.up, this.buttons.down, this.status);
      this.append(group);
      this.press();
    }
    say(name, otherwise) {
      return this.getAttribute(name) || otherwise;
    }
    press(way) {
      for (const each in this.buttons) {
        this.buttons[each].setAttribute("aria-pressed", String(each === way));
        this.buttons[each].querySelector("path").setAttribute("fill", each === way ? "currentColor" : "none");
      }
    }
    async thumbs(way) {
      this.press(way);
      if (this.form) this.form.remove();
      if ((await this.send({ thumbs: way })) && way === "down" && this.hasAttribute("correction")) this.ask();
    }
    ask() {
      if (this.form) this.form.remove();
      const form = (this.form = make("form"));
      const label = make("label", {}, this.say("ask", "What would have been right?"));
      const area = make("textarea", { rows: 3, maxlength: 10000, required: "" });
      const submit = make("button", { type: "submit" }, this.say("submit", "Send"));
      area.style.display = "block";
      label.append(area);
      form.append(label, submit);
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        submit.disabled = true;
        if (area.value.trim() && (await this.send({ correction: area.value }))) form.remove();
        submit.disabled = false;
      });
      this.append(form);
      area.focus();
    }
    async send(said) {
      const given = (name) => this.getAttribute(name);
      const url = new URL(`models/${encodeURIComponent(given("model"))}/feedback`, given("endpoint") || home);
      const body = { prediction_id: given("prediction"), source: "widget", id: newId(), ...said };
      if (given("user")) body.user = given("user");
      if (given("version")) body.version = Number(given("version"));
      const headers = { "content-type": "application/json" };
      if (given("api-key")) headers.authorization = "Bearer " + given("api-key");
      let sent = false;
      for (let wait = 300; wait < 3000 && !sent; wait *= 3) {
        try {
          const { status } = await fetch(url, { method: "POST", headers, body: JSON.stringify(body), keepalive: true });
          sent = status === 202;
          if (!sent && status !== 429 && status < 500) break;
        } catch {}
        if (!sent) await new Promise((done) => setTimeout(done, wait));
      }
      this.status.textContent = sent ? this.say("thanks", "Thank you.") : this.say("failed", "Not sent.");
      return sent;
    }
  }
  if (!customElements.get("headrace-feedback")) customElements.define("headrace-feedback", HeadraceFeedback);
})();

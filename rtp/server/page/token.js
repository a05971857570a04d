// The form that asks for the server's token.

export class TokenForm {
  #unlock = null; #asked = false;

  constructor(form) {
    this.form = form;
    this.input = form.querySelector("input");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#asked = true;
      this.#unlock?.(this.input.value);
      this.input.value = "";
    });
  }

  /** Show it; unlock(text) is called with what a person types. */
  want(unlock) {
    this.#unlock = unlock;
    this.form.querySelector(".wrong").hidden = !this.#asked;
    this.form.hidden = false;
    this.input.focus();
  }

  hide() {
    this.form.hidden = true;
    this.#asked = false;
  }
}

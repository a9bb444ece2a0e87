/**
 * WebKitGTK without a language of its own says that it is "C", and the charts' library, which asks `Intl` for numbers of that
 * language when it is imported, ends there. Imported before it; `restore` is called when it has been.
 *
 * @module
 */

const known = () => {
  try {
    return Intl.NumberFormat.supportedLocalesOf(navigator.language).length >= 0;
  } catch {
    return false;
  }
};
const mended = Boolean(globalThis.navigator) && !known();
if (mended) Object.defineProperty(navigator, "language", { value: "en", configurable: true });

/** The browser's own answer is back. */
export function restore() {
  if (mended) Reflect.deleteProperty(navigator, "language");
}

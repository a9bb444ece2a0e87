/** Put in by the build (buildtools/javascript.py): SHA-256 of the files beside `index.js`, in base64. */
declare const SMOLMIX_SHA256: Record<string, string> | undefined;
/** The same: what the codes of errors mean, of docs/errors.md. */
declare const SMOLMIX_ERRORS: Record<string, string> | undefined;

/** Put in by the build (buildtools/javascript.py): SHA-256 of the files beside `index.js`, in base64. */
declare const SMOLMIX_SHA256: Record<string, string> | undefined;

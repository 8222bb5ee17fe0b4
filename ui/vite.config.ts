import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const backend = process.env.BACKEND ?? 'http://127.0.0.1:8000';

export default defineConfig({
  root: 'erp',
  base: '/',
  plugins: [svelte({ configFile: '../svelte.config.js' })],
  html: { cspNonce: '__NONCE__' },
  server: { proxy: { '/api': backend } },
  build: {
    outDir: '../../src/noufal/static',
    emptyOutDir: true,
    target: 'es2022',
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    manifest: true,
    sourcemap: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'base', test: /node_modules|\/ui\/lib\/(?!components\/Palette)|\/erp\/(session|names|api|pages\.ts)/ }] } } },
  },
});

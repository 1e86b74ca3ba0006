// Package chromiumtest opens pages in a headless Chromium for tests, and controls them through its
// DevTools protocol.
package chromiumtest

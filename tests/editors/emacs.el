;;; emacs.el --- A person's minutes in a real Emacs, without the person  -*- lexical-binding: t -*-

;; Loaded after the README's configuration, in batch mode.  $CODEPROMPT_OPEN names the file to
;; open; what was seen goes as JSON into the file that $CODEPROMPT_SEEN names.

(require 'eldoc)
(require 'flymake)
(require 'json)

(defvar seen (list (cons 'version emacs-version)))
(defvar asked nil "Questions that were answered with yes.")
(defvar said nil "Messages of codeprompt.")

(defun saw (key value) (push (cons key value) seen))

(defmacro wait (what &rest condition)
  "Let Emacs take what processes and timers bring until CONDITION is true."
  `(let ((end (+ (float-time) (string-to-number (getenv "CODEPROMPT_SECONDS")))))
     (while (not (progn ,@condition))
       (when (> (float-time) end) (error "Waited in vain for %s" ,what))
       (accept-process-output nil 0.05))))

(defun go-to (pattern)
  (goto-char (point-min))
  (re-search-forward pattern)
  (goto-char (match-beginning 0)))

(defun text () (buffer-substring-no-properties (point-min) (point-max)))

(defun undo-once ()
  "As C-/ does, once."
  (undo-boundary)
  (setq last-command 'none this-command 'undo)
  (undo))

(defun hover ()
  "What eldoc shows at point."
  (let (found)
    (eglot-hover-eldoc-function
     (lambda (string &rest _) (setq found (substring-no-properties string))))
    (wait "a hover" found)
    found))

;; Advice of these needs no compiler.
(setq native-comp-enable-subr-trampolines nil)
(advice-add 'y-or-n-p :override (lambda (question) (push question asked) t))
(advice-add 'message :before
            (lambda (format &rest arguments)
              (when (and format (string-prefix-p "[codeprompt]" format))
                (push (apply #'format format arguments) said))))

(defun everything ()
  (let (buffer before)
    (find-file (getenv "CODEPROMPT_OPEN"))
    (setq buffer (current-buffer))
    (run-hooks 'post-command-hook) ; eglot-ensure waits for the command's end
    (wait "the engine" (equal (plist-get (codeprompt-status) :state) "ready"))
    (setq before (text))

    (go-to "rgb_to_yiq(r")
    (saw 'hover (hover))
    (saw 'mode_line (codeprompt-mode-line))

    (let ((last-nonmenu-event t) titles)
      (cl-letf (((symbol-function 'completing-read)
                 (lambda (_prompt items &rest _)
                   (setq titles (mapcar #'car items))
                   (cl-find "Write the documentation" titles :test #'string-prefix-p))))
        (undo-boundary)
        (call-interactively #'eglot-code-actions))
      (saw 'actions (vconcat titles)))
    (wait "the docstring" (not (equal (text) before)))
    (saw 'documented (text))
    (undo-once)
    (saw 'undone (if (equal (text) before) t :false))

    (go-to "rgb_to_yiq(r")
    (undo-boundary)
    (codeprompt-document)
    (wait "the docstring by a command" (not (equal (text) before)))
    (saw 'same (if (equal (text) (alist-get 'documented seen)) t :false))
    (undo-once)

    (undo-boundary)
    (codeprompt-document-file)
    (wait "the file" (cl-find "written" said :test #'string-search))
    (saw 'whole (text))
    (saw 'told (car said))
    (undo-once)
    (saw 'whole_undone (if (equal (text) before) t :false))

    (setq said nil)
    (undo-boundary)
    (codeprompt-document-file t)
    (wait "the project" (cl-find "written" said :test #'string-search))
    (saw 'project (text))
    (undo-once)

    (wait "warnings" (with-current-buffer buffer (flymake-start) (flymake-diagnostics)))
    (saw 'warning (flymake-diagnostic-text (car (flymake-diagnostics))))

    (cl-loop
     for (name . command) in '((translation . (codeprompt-translate "java"))
                               (explanation . (codeprompt-explain))
                               (report . (codeprompt-summarize)))
     do (set-buffer buffer)
     (switch-to-buffer buffer)
     (go-to "rgb_to_yiq(r")
     (eval command)
     (wait name (progn (set-buffer (window-buffer (selected-window)))
                       (and (not (eq (current-buffer) buffer))
                            (or (not (eq name 'report)) (string-search "Complete" (text))))))
     (saw name (text))
     (switch-to-buffer buffer))

    (codeprompt-show-status)
    (wait "the status" (string-search "The engine" (car said)))
    (saw 'status (car said))
    (codeprompt-pack "summarize" "nothing")
    (wait "a refusal" (string-search "No pack" (car said)))
    (saw 'refused (car said))

    (find-file (getenv "CODEPROMPT_IGNORED"))
    (run-hooks 'post-command-hook)
    (wait "the file that git ignores" (string-search "left alone" (codeprompt-mode-line)))
    (saw 'ignored (codeprompt-mode-line))))

(condition-case failure
    (everything)
  (error (saw 'failure (format "%S" failure))))
(saw 'asked (vconcat asked))
(saw 'said (vconcat (reverse said)))
(saw 'eglot (if (fboundp 'eglot-execute) "new" "old"))
(with-temp-file (getenv "CODEPROMPT_SEEN")
  (insert (let ((json-false :false)) (json-encode seen))))
(kill-emacs 0)
;;; emacs.el ends here

;;; codeprompt.el --- Summaries and docstrings by codeprompt, through Eglot  -*- lexical-binding: t -*-

;; Package-Requires: ((emacs "28.1") (eglot "1.9"))
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; `codeprompt-setup' makes codeprompt-lsp Eglot's server for `codeprompt-modes'; the commands ask
;; it for what Eglot has no command for.  README.md beside this file has the rest.

;;; Code:

(require 'cl-lib)
(require 'eglot)
(require 'jsonrpc)
(require 'seq)

(defgroup codeprompt nil
  "Summaries and docstrings by small frozen models."
  :group 'tools)

(defcustom codeprompt-command '("codeprompt-lsp")
  "How to start the server."
  :type '(repeat string))

(defcustom codeprompt-modes
  '(python-mode python-ts-mode java-mode java-ts-mode c-mode c-ts-mode c++-mode c++-ts-mode
    csharp-mode csharp-ts-mode js-mode js-ts-mode typescript-mode typescript-ts-mode tsx-ts-mode
    go-mode go-ts-mode ruby-mode ruby-ts-mode php-mode php-ts-mode)
  "Major modes whose buffers codeprompt serves."
  :type '(repeat symbol))

(defconst codeprompt-languages
  '("c" "c-sharp" "cpp" "go" "java" "javascript" "php" "python" "ruby" "typescript")
  "Languages to translate to.")

(defconst codeprompt-tasks '("summarize" "defect" "translate" "localize")
  "Tasks that packs answer for.")

(defconst codeprompt-patience 3600
  "Seconds that a command may take; people are asked in some.")

(defclass codeprompt-server (eglot-lsp-server)
  ((status :initform nil :accessor codeprompt-server-status
           :documentation "What the server told last, a plist."))
  "The server, with what it tells unasked.")

;;;###autoload
(defun codeprompt-setup ()
  "Have Eglot start codeprompt in buffers of `codeprompt-modes'."
  (unless (executable-find (car codeprompt-command))
    (display-warning
     'codeprompt
     (format (concat "'%s' cannot be run.  Install it (pip install codeprompt) where `exec-path' "
                     "leads, or set `codeprompt-command' to its path.")
             (car codeprompt-command))))
  (add-to-list 'eglot-server-programs
               (cons codeprompt-modes (cons 'codeprompt-server codeprompt-command))))

;;; What the server tells

(cl-defmethod eglot-handle-notification
  ((server codeprompt-server) (_method (eql codeprompt/status)) &rest status)
  "Keep STATUS for the mode line."
  (setf (codeprompt-server-status server) status)
  (force-mode-line-update t))

(cl-defmethod eglot-handle-notification
  ((_server codeprompt-server) (_method (eql codeprompt/job)) &key message &allow-other-keys)
  "Tell how a tuning job ended."
  (message "[codeprompt] %s" message))

(defun codeprompt-status ()
  "What this buffer's server told last, a plist; nil without a server."
  (let ((server (eglot-current-server)))
    (and (cl-typep server 'codeprompt-server) (codeprompt-server-status server))))

(defun codeprompt-mode-line ()
  "A few words for the mode line; the empty string where codeprompt does not serve."
  (let* ((server (eglot-current-server))
         (status (codeprompt-status))
         (alone (and buffer-file-name
                     (plist-get (plist-get status :skipped)
                                (intern (concat ":" (codeprompt--uri)))))))
    (cond ((not (cl-typep server 'codeprompt-server)) "")
          (alone (concat "codeprompt: left alone, " alone))
          ((not (equal (plist-get status :state) "ready"))
           (concat "codeprompt: " (or (plist-get status :state) "starting")))
          ((seq-contains-p (plist-get status :missing) "summarize") ; a pack that warns, few have
           "codeprompt: no pack that summarizes")
          ((not (equal (plist-get status :resting) ""))
           (concat "codeprompt: resting, " (plist-get status :resting)))
          (t "codeprompt"))))

;;; Commands

(defun codeprompt--uri ()
  "This buffer's URI."
  (plist-get (eglot--TextDocumentIdentifier) :uri))

(defun codeprompt--here ()
  "The place of point, as commands take it."
  (list :uri (codeprompt--uri) :position (eglot--pos-to-lsp-position)))

(defun codeprompt--run (name given &optional done)
  "Have the server run its command NAME with GIVEN; DONE gets the result."
  (let ((server (eglot-current-server)))
    (unless (cl-typep server 'codeprompt-server)
      (user-error "No codeprompt server in this buffer; M-x eglot starts one"))
    (eglot--signal-textDocument/didChange) ; what was typed, before anything is asked about it
    (jsonrpc-async-request
     server :workspace/executeCommand
     (list :command (concat "codeprompt." name) :arguments (vector given))
     :timeout codeprompt-patience
     :success-fn (or done #'ignore)
     :error-fn (jsonrpc-lambda (&key message &allow-other-keys)
                 (message "[codeprompt] %s" message)))))

(defun codeprompt--show (server)
  "A function that shows a result of SERVER's where Eglot cannot be asked to."
  (lambda (result)
    (let* ((uri (plist-get result :uri))
           (path (if (fboundp 'eglot-uri-to-path) 'eglot-uri-to-path 'eglot--uri-to-path))
           (file (and uri (funcall path uri)))
           (window (plist-get (eglot-client-capabilities server) :window)))
      (when file
        (if (plist-get window :showDocument)
            (let ((buffer (find-buffer-visiting file)))
              (when buffer ; a report grew while it was open
                (with-current-buffer buffer (revert-buffer t t))))
          (pop-to-buffer (find-file-noselect file)))))))

(defun codeprompt-document ()
  "Write or replace the documentation of the function at point."
  (interactive)
  (codeprompt--run "document" (codeprompt--here)))

(defun codeprompt-document-file (&optional project)
  "Write the missing documentation of this file.
With PROJECT, the prefix argument, that of all files of the project."
  (interactive "P")
  (codeprompt--run
   "documentFile" (if project (make-hash-table) (list :uri (codeprompt--uri)))
   (lambda (result)
     (message "[codeprompt] %s written, not sure about %s"
              (plist-get result :written) (plist-get result :unsure)))))

(defun codeprompt-translate (language)
  "Translate the function at point to LANGUAGE."
  (interactive (list (completing-read "Translate to: " codeprompt-languages nil t)))
  (codeprompt--run "translate" (append (codeprompt--here) (list :target language))
                   (codeprompt--show (eglot-current-server))))

(defun codeprompt-explain ()
  "Show which lines a warning about the function at point rests on."
  (interactive)
  (codeprompt--run "explain" (codeprompt--here) (codeprompt--show (eglot-current-server))))

(defun codeprompt-summarize ()
  "Summarize this project's functions into a report."
  (interactive)
  (codeprompt--run "summarizeWorkspace" (list :uri (codeprompt--uri))
                   (codeprompt--show (eglot-current-server))))

(defun codeprompt-tune (&optional shots)
  "Tune a pack on this project's documentation.
SHOTS, the prefix argument, says on how many functions, else the setting does."
  (interactive "P")
  (codeprompt--run
   "tune"
   (append (list :uri (codeprompt--uri))
           (and shots (list :shots (prefix-numeric-value shots))))
   (lambda (result) (message "[codeprompt] Tuning (job %s)" (plist-get result :job)))))

(defun codeprompt-pack (task pack)
  "Have PACK answer for TASK; the empty string leaves the choice to the server."
  (interactive (list (completing-read "Task: " codeprompt-tasks nil t nil nil "summarize")
                     (read-string "Pack (empty: chosen): ")))
  (codeprompt--run
   "choosePack" (list :task task :pack pack)
   (lambda (result)
     (message "[codeprompt] %s: %s" (plist-get result :task) (plist-get result :pack)))))

(defun codeprompt-show-status ()
  "Show what the server does: engine, packs, files left alone."
  (interactive)
  (codeprompt--run
   "showStatus" (make-hash-table)
   (lambda (status)
     (message "[codeprompt] %s"
              (mapconcat
               #'identity
               (append (list (plist-get status :message))
                       (codeprompt--pairs (plist-get status :packs))
                       (codeprompt--pairs (plist-get status :skipped))
                       (plist-get status :notes)
                       nil) ; a vector made a list
               "\n")))))

(defun codeprompt--pairs (told)
  "Lines of the keys and values of TOLD, a plist."
  (cl-loop for (key value) on told by #'cddr
           collect (format "%s: %s" (substring (symbol-name key) 1) value)))

(defun codeprompt-cancel ()
  "Cancel what runs: tuning jobs and commands."
  (interactive)
  (codeprompt--run "cancel" (make-hash-table)))

(provide 'codeprompt)
;;; codeprompt.el ends here

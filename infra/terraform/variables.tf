variable "bucket" {
  description = "Name of the bucket, unique in all of S3."
  type        = string
}

variable "datasets" {
  description = "Prefixes of the datasets in it, as in s3://BUCKET/PREFIX, without slashes at the ends."
  type        = set(string)

  validation {
    condition     = alltrue([for each in var.datasets : trim(each, "/") == each && each != ""])
    error_message = "Expected prefixes such as nightly or team/pairs."
  }
}

variable "keep_work_days" {
  description = "Days that batches of unfinished shards are kept after they were written."
  type        = number
  default     = 30
}

variable "keep_deleted_days" {
  description = "Days that overwritten and deleted objects can be brought back."
  type        = number
  default     = 14
}

variable "monthly_usd" {
  description = "What S3 may cost a month; 80 % of it in the forecast sends mail."
  type        = number
}

variable "alarm_emails" {
  description = "Who gets that mail."
  type        = list(string)
}
